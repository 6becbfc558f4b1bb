"""The client of OpenAI-compatible chat servers."""
