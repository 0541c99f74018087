"""A service that is killed again and again in the middle of its work, and what must be true afterwards."""
