"""Language models: llama.cpp, OpenAI-compatible servers, transformers, and the small one that comes with visavis."""
