"""Flickr8K: 8,000 photographs with five sentences each, read from the distributed files."""
