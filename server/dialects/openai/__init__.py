"""OpenAI Realtime (GA): our events as its JSON, and its client events as calls."""
