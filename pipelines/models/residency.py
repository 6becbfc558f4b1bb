"""Models in memory: what engines hold their loaded model by.

An engine does not own its model. It takes a lease for as long as it computes, and what is not leased may be unloaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Resident(Protocol[T_co]):
    """A model that can be in memory. Blocking: use it on a worker's thread."""

    name: str

    def lease(self) -> AbstractContextManager[T_co]:
        """Load the model if need be and keep it in memory until the context ends. Reentrant and thread-safe.

        Raises :class:`~pipelines.errors.ModelError` when it cannot be loaded.
        """
        ...


class Kept(Generic[T]):
    """A model that is loaded already and never unloaded."""

    def __init__(self, name: str, model: T) -> None:
        self.name = name
        self._model = model

    @contextmanager
    def lease(self) -> Iterator[T]:
        """The model."""
        yield self._model
