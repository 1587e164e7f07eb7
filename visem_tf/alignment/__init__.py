"""Alignment of words with image regions (paper, sections 3.1.3 and 3.1.4).

Scores, losses, false sentences, the chain MRF and text segments, as functions without weights.
"""
