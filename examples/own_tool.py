"""Two functions that the language model may call, with ``own_tool.yaml`` beside them.

visavis serve --tools examples/own_tool.yaml

What the model is told of a function: its name, its docstring, and the types of its arguments.
"""

import operator
from typing import Annotated, Literal

from pydantic import Field

OPERATIONS = {"plus": operator.add, "minus": operator.sub, "times": operator.mul, "divided by": operator.truediv}
STOCK = {"apples": 12, "pears": 0}


def calculate(a: float, operation: Literal["plus", "minus", "times", "divided by"], b: float) -> str:
    """Calculates with two numbers."""
    if operation == "divided by" and b == 0:
        return "Nothing can be divided by zero."
    return f"{a:g} {operation} {b:g} is {OPERATIONS[operation](a, b):g}."


async def stock(fruit: Annotated[str, Field(description="in the plural, such as apples")]) -> str:
    """Tells how much of a fruit is in store."""
    return f"There are {STOCK[fruit] or 'no'} {fruit}." if fruit in STOCK else f"We do not sell {fruit}."
