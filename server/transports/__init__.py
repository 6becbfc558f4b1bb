"""How bytes get to a session and back."""
