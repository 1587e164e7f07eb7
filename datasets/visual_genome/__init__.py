"""Visual Genome: pictures with region descriptions, each a phrase with its box."""
