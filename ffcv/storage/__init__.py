"""Where the bytes of a sample come from."""
