"""Tasks whose input or output is a picture."""
