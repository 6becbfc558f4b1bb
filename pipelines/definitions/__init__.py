"""The pipelines that ship, as YAML."""
