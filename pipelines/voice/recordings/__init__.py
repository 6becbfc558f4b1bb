"""Recordings: cut at pauses into utterances, and what is said in each."""
