"""Pipelines over HTTP: ``/v1/pipelines``."""
