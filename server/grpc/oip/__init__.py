"""The Open Inference Protocol: engines, tasks and pipelines as models with tensors in and out."""
