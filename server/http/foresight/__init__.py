"""Predictions over HTTP: a picture is posted, words and frames come over a WebSocket, the video is a growing file."""
