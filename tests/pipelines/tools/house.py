"""Functions that the tests offer as tools."""

from __future__ import annotations

import asyncio
import threading
from typing import Annotated, Literal

from pydantic import Field

calls: list[object] = []
"""What has been called, and how."""
entered = threading.Event()
leave = threading.Event()


def light(room: Annotated[str, Field(description="Which room.")], on: bool = True, level: int = 100) -> str:
    """Switches the lamp of a room."""
    calls.append((room, on, level, threading.current_thread() is threading.main_thread()))
    return f"The lamp in the {room} is {'on' if on else 'off'}."


async def weather(city: str, unit: Literal["C", "F"] = "C") -> dict[str, object]:
    """The weather in a city."""
    await asyncio.sleep(0)
    return {"city": city, "degrees": 20, "unit": unit}


async def forever() -> None:
    """Never answers."""
    try:
        calls.append("begun")
        await asyncio.Event().wait()
    finally:
        calls.append("ended")


def stuck() -> None:
    """Hangs in a thread."""
    entered.set()
    leave.wait()


def broken() -> None:
    """Raises."""
    raise RuntimeError("a secret of the house")


def nothing() -> None:
    """Returns nothing."""


def undocumented(x: int) -> int:
    return x


def unannotated(x) -> int:  # type: ignore[no-untyped-def]
    """No annotation."""
    return int(x)


def many(*values: int) -> int:
    """Any number."""
    return sum(values)


def odd(x: threading.Lock) -> None:  # type: ignore[valid-type]
    """No schema."""


NO_FUNCTION = 3
