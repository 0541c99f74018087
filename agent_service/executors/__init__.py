"""Where brains live."""
