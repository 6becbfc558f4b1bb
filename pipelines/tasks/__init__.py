"""Tasks: one file per task, each a :class:`~pipelines.interfaces.task.TaskSpec`."""
