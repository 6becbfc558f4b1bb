"""Metrics, logs, and a watch over the event loop."""
