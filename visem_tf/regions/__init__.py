"""Pictures and their regions: reading, proposals, the CNN, cached features (paper, section 1)."""
