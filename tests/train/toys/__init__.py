"""Systems of their own, so that turns and parts are tested without any paper."""
