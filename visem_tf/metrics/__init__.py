"""Metrics of the paper's three experiments, in NumPy: ranking, captions, regions."""
