"""Features that were computed elsewhere, with sentences: no pictures are needed."""
