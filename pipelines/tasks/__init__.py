"""What models do with one item of input, as data in and out: one file per task."""
