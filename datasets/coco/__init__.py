"""COCO captions: from local folders, or from TensorFlow Datasets' `coco_captions`."""
