"""Pages of ``docs/reference`` that are made of the code: commands, routes, events, metrics, limits."""
