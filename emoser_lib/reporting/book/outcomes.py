"""What the commands of the exercises' solutions gave (``book/exercises.json``, written by `make exercises`)."""

from collections.abc import Mapping
from typing import Any

from emoser_lib.errors import DataError


def outcome(executed: Mapping[str, Mapping[str, Any]], text: str) -> str:
    """Return one metric of one run, as the role ``outcome`` names it.

    Args:
        executed: content of ``exercises.json``, by exercise.
        text: the exercise's label, the number of the run, from 1, and names that lead to the metric (macro-F1).

    Returns:
        A score with three digits, a count as it is.

    Raises:
        DataError: there is no such run or metric.

    >>> outcome({"ex-alpha": {"runs": [{"grid": [{"macro_f1": 0.25}]}]}}, "ex-alpha 1 grid, 0, macro_f1")
    '0.250'
    """
    label, number, *names = text.split(" ", 2)
    try:
        value: Any = executed[label]["runs"][int(number) - 1]
        for name in names[0].split(", ") if names else ["macro_f1"]:
            value = value[int(name) if isinstance(value, list) else name]
    except (IndexError, KeyError):
        raise DataError(f"exercises.json has no '{text}': execute the solution with `make exercises`.") from None
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
