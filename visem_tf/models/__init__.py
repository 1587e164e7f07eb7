"""The models of the paper as Keras classes (sections 3.1 and 3.2), and how to save them."""
