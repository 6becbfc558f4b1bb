"""The types of stages: how each computes what it gives from what comes, one file per type or family."""
