"""Immutable base class of results and claims."""

from pydantic import BaseModel, ConfigDict


class Immutable(BaseModel):
    """A value that does not change, of known fields.

    >>> class Point(Immutable):
    ...     x: int
    >>> Point(x=1, y=2)
    Traceback (most recent call last):
    pydantic_core._pydantic_core.ValidationError: 1 validation error for Point
    ...
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
