"""Records of one setting at several seeds: their scores together, with and without the rarest label.

A few clips of the rarest label move macro-F1 by more than most systems differ, so a score is shown with it and without.
"""

from collections.abc import Sequence

from emoser_lib.experiments import Record

OTHERS = "the other labels, all clips"
"""What a mean of F1 over all labels but the rarest is called: clips of the rarest stay in and can be answered wrong."""

RARE = 0.05
"""Share of the clips below which a label is rare: our choice."""

NO_SETTING = ("seed", "device")
"""Parameters that do not say what is measured. Older records have no device."""


def of_other_seeds(record: Record, records: Sequence[Record]) -> list[Record]:
    """Find the records of a record's setting at any seed, in the order of the seeds; it is one of them.

    Args:
        record: of a chapter.
        records: to look in, of the same chapter or not.
    """

    def setting(one: Record) -> tuple[object, ...]:
        return one.notebook, one.profile, {k: v for k, v in one.parameters.items() if k not in NO_SETTING}

    alike = [other for other in records if setting(other) == setting(record)]
    return sorted(alike, key=lambda one: one.parameters.get("seed", 0))


def rarest_label(record: Record) -> str:
    """Return the label with the fewest of the clips that a record's scores are of."""
    per_label = record.metrics["per_label"]
    return min(per_label, key=lambda label: per_label[label]["n"])


def has_rare_label(record: Record) -> bool:
    """Say whether the rarest label has so few of the clips (`RARE`) that a score is worth showing without it."""
    counts = [of["n"] for of in record.metrics["per_label"].values()]
    return bool(min(counts) < RARE * sum(counts))


def without(f1: dict[str, float], label: str) -> float:
    """Compute macro-F1 over the labels but one.

    >>> without({"joy": 0.8, "anger": 0.6, "fear": 0.0}, "fear").__round__(3)
    0.7
    """
    kept = [value for name, value in f1.items() if name != label]
    return sum(kept) / len(kept)


def f1_by_label(record: Record, system: str | None = None) -> dict[str, float]:
    """Return F1 by label: of a record's own system, or, where it tells of several, of one."""
    return {label: of["f1" if system is None else system] for label, of in record.metrics["per_label"].items()}
