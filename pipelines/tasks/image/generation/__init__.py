"""Pictures and videos made of words."""
