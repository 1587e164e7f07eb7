"""Everybody's own pictures with captions in one file of COCO's format."""
