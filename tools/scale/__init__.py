"""How many machines for how many sessions: measured costs, plain arithmetic, and a simulation that checks it.

``python -m tools.scale`` writes the tables of ``docs/explain/scale.md``; ``--help`` tells which figures may be yours.
"""
