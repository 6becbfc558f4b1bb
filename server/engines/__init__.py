"""Settings → engines, a module for each stage: what is tried, what is chosen, and the reason a person can read."""
