"""Pictures with a file of JSON lines."""
