"""Own images with captions in one file of COCO's format."""
