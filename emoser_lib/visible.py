"""Text from strangers as it may be shown: what acts on a terminal or turns a line around is written out."""

import re
from typing import Any, TextIO

ACTING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters other than tab and line feed, marks that change the direction of a line, halves of a pair."""


def visible(text: str) -> str:
    r"""Write out the characters of a text that a terminal or page would act on; the others stay.

    >>> visible("red: \x1b[31m, turned around: \u202e")
    'red: \\u001b[31m, turned around: \\u202e'
    """
    return ACTING.sub(lambda found: f"\\u{ord(found[0]):04x}", text.replace("\r\n", "\n"))


def shortened(value: object, most: int = 200) -> str:
    """Write a value as in Python, but never more than a line of it.

    >>> shortened("a" * 1000, most=5)
    "'aaaa…"
    """
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"


class VisibleStream:
    """A stream to a person on which everything is `visible`.

    Args:
        stream: where to.
        returns: whether a carriage return stays, as progress bars need it.
    """

    def __init__(self, stream: TextIO, returns: bool = False) -> None:
        self._stream, self._returns = stream, returns

    def write(self, text: str) -> int:
        """Write a text; returns its length, as streams do."""
        parts = text.split("\r") if self._returns else [text]
        self._stream.write("\r".join(map(visible, parts)))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
