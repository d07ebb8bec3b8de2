"""What a paper says of itself, tested: one file a paper."""
