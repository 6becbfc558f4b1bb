"""Over HTTP: what the server used, how it fared, and what went wrong in it."""
