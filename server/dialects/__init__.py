"""Our events ↔ the JSON other people's clients speak."""
