"""Training of all models: batches, optimizers, checkpoints and logs for TensorBoard."""
