"""Pictures with Karpathy's `dataset.json`."""
