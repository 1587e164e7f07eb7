"""From files to pixels: finding, decoding, orienting and resizing, in Python and in graph."""
