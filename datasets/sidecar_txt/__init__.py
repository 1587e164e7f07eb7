"""Images with a text beside each."""
