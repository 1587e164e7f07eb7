"""A local page to drop images on: `python -m visem_tf.demo`."""
