"""Images with a file metadata.csv or metadata.jsonl beside them."""
