"""The alignment of words with regions: scores, losses, the chain MRF, and text segments.

Sections 3.1.3 and 3.1.4 of the paper, as functions without weights.
"""
