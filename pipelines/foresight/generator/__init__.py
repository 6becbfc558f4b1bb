"""Videos that a model makes up: LTX image-to-video, previews of each step, and what else it may be conditioned on."""
