"""Measurements: `python -m benchmarks` times every path, each other module one thing."""
