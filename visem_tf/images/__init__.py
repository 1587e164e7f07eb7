"""From bytes to pixels: finding, decoding and orienting images, in Python and in graph."""
