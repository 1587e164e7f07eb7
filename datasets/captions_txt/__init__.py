"""Pictures with one text file of captions."""
