"""Pipelines as data: the YAML definitions and how a stage finds its engine."""
