"""Text to speech: Piper, espeak-ng."""
