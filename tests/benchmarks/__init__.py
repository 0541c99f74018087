"""Ratios against bare FastAPI and a bare RunEngine, in one run: ``python -m tests.benchmarks``."""
