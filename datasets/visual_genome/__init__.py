"""Visual Genome: images with region descriptions, each a phrase with its box."""
