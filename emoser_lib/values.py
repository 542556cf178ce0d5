"""Immutable base class of results and claims."""

from pydantic import BaseModel, ConfigDict


class Immutable(BaseModel):
    """An immutable value: a pydantic model that refuses changes and unknown fields.

    >>> class Point(Immutable):
    ...     x: int
    >>> Point(x=1, y=2)
    Traceback (most recent call last):
    pydantic_core._pydantic_core.ValidationError: 1 validation error for Point
    ...
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
