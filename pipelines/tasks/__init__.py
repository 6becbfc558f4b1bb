"""Tasks: what models do with one item of input. One file per task, against :mod:`pipelines.interfaces.task`."""
