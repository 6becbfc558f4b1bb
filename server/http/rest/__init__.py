"""The OpenAI-style REST API: chat, transcription, speech and embeddings over the engines of the conversations."""
