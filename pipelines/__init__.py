"""What the samples mean: voice, vision, engines and models. Imports ``media`` only."""
