"""Presentation of results: the report page, drawn images, text tables, and TensorBoard."""
