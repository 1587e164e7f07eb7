"""The process and its machine: start-up, devices, workers, files and the terminal."""
