"""The contracts between the stages and the engines that serve them. Read this folder to know the architecture.

Every engine is one object shared by all sessions; what belongs to one session or one utterance lives in the small
handle that the engine opens for it. Engines keep the event loop free: their methods are ``async`` where they may
wait, and do their work on an own worker (see :mod:`pipelines.runtime.worker`) or process.
"""
