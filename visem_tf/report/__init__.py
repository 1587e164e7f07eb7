"""What people look at: pictures, a page, TensorBoard, and the words at the end of a run."""
