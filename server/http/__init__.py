"""The routes, and what holds for every request."""
