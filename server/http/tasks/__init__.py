"""Tasks over HTTP: the envelope of the Hugging Face API, and thin adapters of what other servers speak."""
