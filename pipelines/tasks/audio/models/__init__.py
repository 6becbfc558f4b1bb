"""Models for sound, each with what its networks lack to be a model."""
