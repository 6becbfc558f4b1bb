"""Several nodes, each a server of its own, that share their sessions out and remember for each other."""
