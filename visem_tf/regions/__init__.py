"""Regions of images and their features (3.1.1): the CNN, the proposers of boxes and the caches."""
