"""Who may ask for what, and how often: keys, client secrets, rate limits, and what browsers are told of it (CORS)."""
