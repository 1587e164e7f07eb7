"""The process and its surroundings: startup, devices, workers, storage, files and the terminal."""
