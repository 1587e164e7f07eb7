"""From files to pixels: finding, decoding, orienting and resizing images, in Python and in graph."""
