"""Recordings of sessions whose clients ask for that: both voices, the annotated camera, and what happened."""
