"""The version, where those find it who may not go through the front door."""

__version__ = "0.1.0"
