"""`scenes`: the dataset that needs no download, images rendered from a seed; see README.md."""
