"""One user's session, whatever it is reached over and whatever its client speaks."""
