"""What grows with the clips: every piece of work does its work, and the page shows what was measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.growth_work import WORKS, ledger


@pytest.mark.parametrize("work", [name for name in WORKS if name != ledger.__name__])
def test_a_piece_of_work_runs_on_forty_clips(work: str, tmp_path: Path) -> None:
    WORKS[work](40, tmp_path)()


def measured(seconds: dict[str, float]) -> dict[str, Any]:
    return {clips: {"seconds": of, "before_mb": 500.0, "peak_mb": 500.0 + of} for clips, of in seconds.items()}


def test_the_page_tells_growth_in_proportion_from_steeper_one(built: Callable[..., str]) -> None:
    line = measured({"100": 0.1, "1000": 1.0, "10000": 10.0})
    works = dict.fromkeys(WORKS, line) | {
        "paired_test": measured({"100": 0.01, "1000": 1.0, "10000": 100.0}),
        "training_steps": measured({"100": 2.0, "1000": 2.0, "10000": 3.0}),
    }
    found = {
        "works": works,
        "sentences": 200,
        "seconds_a_clip": 0.5,
        "steps": 20,
        "hardware": {"cpu": "a processor", "memory_gb": 24},
        "date": "2026-11-29T10:00:00Z",
        "commit": "abc",
    }
    page = built("benchmark-growth", "growth", "growth/result.json", found)
    assert "paired test 0.01 1.00 100.00 2.00" in page
    assert "fit text-svm 0.10 1.00 10.00 1.00" in page
    assert "the steepest is 2.00 (paired test)" in page
    assert "cost 1.50 times as much with 10,000 clips as with 100" in page


def test_without_a_measurement_the_page_says_so(built: Callable[..., str]) -> None:
    assert "Nothing has been measured yet." in built("benchmark-growth", "growth", "growth/result.json", None)
