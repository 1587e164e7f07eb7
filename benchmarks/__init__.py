"""Benchmarks: `python -m benchmarks` times the hot paths; other modules measure one thing each."""
