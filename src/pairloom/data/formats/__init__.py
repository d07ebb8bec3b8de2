"""One file, one format: sniffed by content, read, written."""
