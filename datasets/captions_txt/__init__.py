"""Images with one text file of captions."""
