"""Pictures with a text beside each."""
