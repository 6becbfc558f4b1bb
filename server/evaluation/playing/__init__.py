"""Plays scenarios to a server, and keeps what comes back."""
