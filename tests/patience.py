"""How long a test waits for what must come, on a machine that is busy with other things as well."""

PATIENCE = 120.0
"""Seconds after which what was waited for will not come; only a busy machine needs more than a few."""
