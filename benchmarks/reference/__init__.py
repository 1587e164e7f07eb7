"""The paper's computations in plain NumPy: a sentence, a picture or a beam at a time.

They are written from the paper, as one would to understand it, and share nothing with visem_tf but
the shapes of its arrays.
"""
