"""Speech to text: Moonshine, Whisper, PocketSphinx."""
