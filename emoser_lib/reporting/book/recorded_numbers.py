"""Numbers of the committed records, as prose asks for them."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from functools import cache
from types import MappingProxyType
from typing import Any

from emoser_lib.errors import DataError
from emoser_lib.experiments.runs.records import Record, published_records

_FOLDS: Mapping[str, Callable[[list[float]], float]] = MappingProxyType(
    {"mean": lambda values: sum(values) / len(values), "lowest": min, "highest": max, "runs": len}
)
"""How several records become one number."""

_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@cache
def _records() -> tuple[Record, ...]:
    """All committed records."""
    return tuple(published_records())


def _value(metrics: Any, path: str) -> Any:
    """One number of a record's metrics.

    >>> _value({"scores": [{"of": "a", "f1": 0.1}, {"of": "b", "f1": 0.2}]}, "scores/of=b/f1")
    0.2
    >>> _value({"joy": {"f1": 0.7}, "anger": {"f1": 0.5}, "fear": {"f1": 0.1}}, "but fear/f1").__round__(3)
    0.6
    """
    if not path:
        return metrics
    step, _, rest = path.partition("/")
    if isinstance(metrics, list):
        wanted = dict(part.split("=", 1) for part in step.split("&"))
        found = next((row for row in metrics if wanted.items() <= {k: str(v) for k, v in row.items()}.items()), None)
    elif isinstance(metrics, dict) and metrics.get(left_out := step.removeprefix("but ")) and left_out != step:
        others = [_value(of, rest) for name, of in metrics.items() if name != left_out]
        return sum(others) / len(others)
    else:
        found = metrics.get(step) if isinstance(metrics, dict) else None
    if found is None:
        raise KeyError(step)
    return _value(found, rest)


def recorded_number(text: str) -> tuple[str, str]:
    """Return the number that the role ``recorded`` asks for, and where it is from.

    Args:
        text: ``record: step/step``. A step is a name, or ``name=value&name=value``, which takes the row of a list, or
            ``but name``, which takes the mean over all other names.
            ``mean``, ``lowest``, ``highest`` or ``runs`` before the record's name (a pattern) stand for several.

    Raises:
        DataError: there is no such record, several of them, or no such number.
    """
    asked, _, path = (part.strip() for part in text.partition(":"))
    fold, _, pattern = asked.rpartition(" ")
    found = [record for record in _records() if fnmatch(record.name, pattern)]
    if not found or (not fold and len(found) > 1) or (fold and fold not in _FOLDS):
        raise DataError(
            f"book/records has no one record for '{asked}': see emoser_lib/reporting/book/recorded_numbers.py."
        )
    place = ", ".join(record.name for record in found)
    if fold == "runs":
        return _WORDS[len(found)], place
    try:
        values = [_value(record.metrics, path) for record in found]
    except KeyError as step:
        raise DataError(f"{place} has no {step} of '{path}' in its metrics.") from None
    number = _FOLDS[fold](values) if fold else values[0]
    return (f"{number:,}" if isinstance(number, int) else f"{number:.3f}"), f"record {place}"
