"""Messages as Python classes, written by ``python -m tools.generate_grpc``: edit the definitions, not these."""
