"""Sweeps: the cells of a chapter's grid, each trained by a run of its own; then the chapter finds all of them.

A profile declares them, beside its notebooks:

    sweeps:
      figure-4:
        chapter: 05-gemma-lora
        run: demo
        over: {ranks: [4, 16], alphas: [8, 32], folds: [0], seed: [0, 1]}

``run`` is a run of that chapter in the same profile, ``over`` what is varied. A parameter that is a list, such as
``ranks``, is whole in the chapter's own run and has one of its values in a cell's; of another one, such as ``seed``,
each value makes a run of the chapter. Snakemake (notebooks/Snakefile) does the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from emoser_lib.errors import DataError, UsageError, did_you_mean
from emoser_lib.experiments.runs.names import RunName
from emoser_lib.experiments.runs.parameters import Parameter, parameters_of
from emoser_lib.experiments.runs.profiles import SWEEPS, PlannedRun, plan_variants, read_profile
from emoser_lib.values import Immutable

LARGEST = 10_000
"""Cells of a sweep, so that a wrong declaration ends at once (our choice)."""

REFIT = "refit"
"""The parameter that has the best cell trained again on all clips: the chapter's matter, not a cell's."""


class Sweep(Immutable):
    """A sweep as a profile declares it.

    Attributes:
        chapter: its notebook.
        run: of that notebook, in the same profile.
        over: parameter -> its values.
    """

    chapter: RunName
    run: RunName
    over: Annotated[dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]], Field(min_length=1)]


@dataclass(frozen=True)
class PlannedSweep:
    """The runs of a sweep, each checked.

    Attributes:
        name: in the profile.
        cells: of each run of the chapter, by its key: the runs that train its cells.
        runs: of the chapter: one, or one for each seed and the like.
    """

    name: str
    cells: Mapping[str, tuple[PlannedRun, ...]]
    runs: tuple[PlannedRun, ...]


_SHAPE = TypeAdapter(dict[RunName, Sweep])


def sweeps_in(folder: Path, profile: str) -> dict[str, Sweep]:
    """Read the sweeps that a profile declares, by name.

    Args:
        folder: that of the notebooks; its profiles lie in ``profiles/``.
        profile: its name.

    Raises:
        UsageError: there is no such profile.
        DataError: its file is damaged, or a sweep has something else than ``chapter``, ``run`` and ``over``.
    """
    try:
        return _SHAPE.validate_python(read_profile(folder, profile).get(SWEEPS) or {})
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise DataError(
            f"{folder / 'profiles' / profile}.yaml: {SWEEPS}.{where} is not of the form 'name: {{chapter: notebook, "
            "run: its run, over: {parameter: [value, …]}}': correct it."
        ) from None


def plan_sweep(folder: Path, name: str, profile: str) -> PlannedSweep:
    """List the runs of a sweep, each checked as `plan` does.

    Args:
        folder: that of the notebooks.
        name: the sweep's.
        profile: that declares it.

    Raises:
        UsageError: there is no such sweep, or a parameter, type or range is wrong.
        DataError: the profile or the notebook is damaged.
    """
    known = sweeps_in(folder, profile)
    if name not in known:
        hint = did_you_mean(name, list(known))
        raise UsageError(f"profile '{profile}' has no sweep '{name}'{hint}: it has {', '.join(known) or 'none'}.")
    sweep = known[name]
    notebook = folder / f"{sweep.chapter}.ipynb"
    if not notebook.is_file():
        raise UsageError(f"sweep '{name}' is of {sweep.chapter}, and {notebook} is not there: correct the profile.")
    parameters = parameters_of(notebook)
    for parameter in sweep.over:
        if parameter not in parameters:
            hint = did_you_mean(parameter, list(parameters))
            raise UsageError(f"sweep '{name}': {sweep.chapter} has no parameter '{parameter}'{hint}.")
    whole = {of: values for of, values in sweep.over.items() if _is_list(parameters[of])}
    apart = {of: values for of, values in sweep.over.items() if of not in whole}
    if (many := prod(map(len, sweep.over.values()))) > LARGEST:
        raise UsageError(f"sweep '{name}' has {many:,} cells, more than {LARGEST:,}: declare fewer values.")
    once = {REFIT: False} if REFIT in parameters else {}
    drawn = [dict(zip(apart, values, strict=True)) for values in product(*apart.values())]
    cut = [{of: [value] for of, value in zip(whole, values, strict=True)} for values in product(*whole.values())]
    lists = {of: list(values) for of, values in whole.items()}
    runs = plan_variants(notebook, profile, sweep.run, [lists | of_one for of_one in drawn])
    cells = plan_variants(notebook, profile, sweep.run, [one | of_one | once for of_one in drawn for one in cut])
    parts = [cells[start : start + len(cut)] for start in range(0, len(cells), len(cut))]
    return PlannedSweep(
        name=name,
        # A grid of one cell may be the run itself.
        cells={run.key: tuple(c for c in of_it if c.key != run.key) for run, of_it in zip(runs, parts, strict=True)},
        runs=tuple(runs),
    )


def _is_list(parameter: Parameter) -> bool:
    return parameter.annotation.split("[")[0] == "list"
