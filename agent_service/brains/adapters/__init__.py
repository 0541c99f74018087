"""Adapters from the shapes of others' brains to the one shape that the loop calls."""
