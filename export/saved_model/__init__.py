"""The SavedModel: its signatures, and the files around it that TensorFlow Serving reads."""
