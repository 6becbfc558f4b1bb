"""The pipelines that ship, as YAML; how such files are read, and what stands for the backends that they name."""
