"""Images with a file of JSON lines."""
