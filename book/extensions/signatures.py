"""The reference's signatures, made readable.

Settings, records and enumerations have none: their fields are described in words.
"""

from enum import Enum

from numpy.typing import ArrayLike
from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

WRITTEN_OUT = stringify_annotation(ArrayLike, "smart")
"""Half a screen that autodoc makes of one word."""


def readable(
    app: Sphinx, what: str, name: str, found: object, options: object, signature: str | None, returns: str | None
) -> tuple[str, str]:
    """An autodoc hook. As they are, pydantic prints the validators of every field, enum how enumerations are made,
    and a dataclass a default that Python cannot read."""
    if isinstance(found, type) and issubclass(found, BaseModel | Enum):
        return "", ""
    return (signature or "").replace(WRITTEN_OUT, "ArrayLike").replace("<factory>", "..."), returns or ""


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-signature", readable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
