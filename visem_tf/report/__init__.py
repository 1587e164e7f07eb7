"""What people look at: the report page, drawn images, text tables, and TensorBoard."""
