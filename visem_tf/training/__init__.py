"""What both models need to be trained: batches, optimizers, and epochs that can be resumed."""
