"""Hours are told after what runs of the same pace took on this machine, or not at all."""

from pathlib import Path

import pytest

from emoser_lib.environment import hardware
from emoser_lib.experiments.planning.hours import hours_of
from emoser_lib.experiments.runs.profiles import plan
from emoser_lib.experiments.runs.records import Hardware, RunStatus, published_records


def test_hours_are_those_of_runs_like_it_on_this_machine(root: Path) -> None:
    notebook = root / "notebooks" / "05-gemma-lora.ipynb"
    [cell] = plan(notebook, changed={"ranks": [4], "alphas": [8], "refit": False})
    [grid] = plan(notebook, changed={"seed": 3})  # 2 × 3 cells, and the refit
    [other] = plan(notebook, changed={"epochs": 9})
    known = published_records("05-gemma-lora")[0].model_copy(
        update={
            "parameters": dict(cell.parameters),
            "hardware": Hardware(**hardware()),
            "seconds": 1800.0,
            "status": RunStatus.OK,
        }
    )
    assert hours_of(grid, [known]) == pytest.approx(7 * 0.5)
    assert hours_of(grid, [known.model_copy(update={"seconds": 36.0}), known]) == pytest.approx(3.5), "the slowest"
    assert hours_of(other, [known]) is None
    assert hours_of(grid, [known.model_copy(update={"hardware": Hardware(cpu="another")})]) is None
    assert hours_of(grid, [known.model_copy(update={"status": RunStatus.KILLED})]) is None
