"""Images and their texts in tar files."""
