"""Foresight: a picture, and at once words about what comes next, while a short video of it is made."""
