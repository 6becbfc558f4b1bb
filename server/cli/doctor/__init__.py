"""``visavis doctor``."""
