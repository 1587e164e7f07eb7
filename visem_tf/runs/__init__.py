"""A run directory and what is loaded from it: models, vocabulary, captions and groundings."""
