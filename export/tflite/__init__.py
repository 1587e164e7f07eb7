"""The TensorFlow Lite model: its functions, and the file with vocabulary and metadata."""
