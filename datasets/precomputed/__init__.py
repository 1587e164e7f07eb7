"""Features that were computed elsewhere, with sentences: no images are needed."""
