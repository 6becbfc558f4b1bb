"""Samples and pictures with time. Knows nothing of models, pipelines or HTTP."""
