"""gRPC: the same engines, tasks and pipelines as over HTTP, for clients in any language.

``visavis.v1`` is typed; beside it KServe's Open Inference Protocol v2 is spoken, which Triton's clients know. Services
are thin: what they ask for and what it is limited by are the objects that serve HTTP.
"""
