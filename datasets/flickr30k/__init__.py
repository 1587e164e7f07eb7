"""Flickr30K: 31,783 photographs with five sentences each, and Flickr30k Entities."""
