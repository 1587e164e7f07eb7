"""The computations of the paper in plain NumPy: one sentence, image or beam at a time.

They are written from the paper and share nothing with visem_tf but the shapes of arrays.
"""
