"""Images with Karpathy's `dataset.json`."""
