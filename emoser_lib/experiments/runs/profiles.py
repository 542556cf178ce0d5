"""Profiles: which runs of which notebooks, with which values. A profile changes values, never code paths."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from emoser_lib.errors import DataError, UsageError, did_you_mean
from emoser_lib.experiments.runs.names import checked_name
from emoser_lib.experiments.runs.parameters import load_yaml, parameters_of, read_notebook, resolve
from emoser_lib.experiments.settings.base import Settings
from emoser_lib.experiments.settings.chapters import CHAPTERS
from emoser_lib.experiments.settings.prepare import Prepared, is_here, prepare

PROFILE_SHAPE = TypeAdapter(dict[str, dict[str, dict[str, Any] | None] | None])
"""Notebook -> run -> values."""

SWEEPS = "sweeps"
"""What of a profile is no notebook: its sweeps (`emoser_lib.experiments.runs.sweeps`)."""


@dataclass(frozen=True)
class PlannedRun:
    """One execution of a notebook that is fully determined before a kernel starts."""

    notebook: Path
    profile: str
    name: str
    """The run's name in the profile."""
    parameters: Mapping[str, Any]
    changed: Mapping[str, Any]
    """Values that the caller put over the profile's."""

    @property
    def chapter(self) -> str:
        """The notebook's name without its ending."""
        return self.notebook.stem

    @property
    def key(self) -> str:
        """Profile and a hash of all parameters: the same run has the same key."""
        text = json.dumps(dict(self.parameters), sort_keys=True, ensure_ascii=False)
        return f"{self.profile}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def command(self) -> str:
        """The command that repeats this run."""
        extra = "".join(f" -p {name} {_as_typed(value)}" for name, value in self.changed.items())
        return f"emoser run {quote(self.chapter)} --profile {quote(self.profile)} --only {quote(self.name)}{extra}"


def plan(
    notebook: Path, profile: str = "demo", only: str | None = None, changed: Mapping[str, Any] | None = None
) -> list[PlannedRun]:
    """List the runs of a notebook in a profile, each checked: names, types and ranges.

    Args:
        notebook: path of the notebook; its profiles lie beside it in ``profiles/``.
        profile: name of the profile.
        only: the name of one run of the profile; default: all of them.
        changed: values put over the profile's.

    Raises:
        UsageError: the profile, the run, a name, a type or a range is wrong.
        DataError: the notebook or the profile's file is damaged.
    """
    return plan_variants(notebook, profile, only, [changed or {}])


def plan_variants(
    notebook: Path, profile: str, only: str | None, variants: Sequence[Mapping[str, Any]]
) -> list[PlannedRun]:
    """List the runs of a notebook once for each set of values put over the profile's; the rest as `plan`."""
    checked_name(notebook.stem, "notebook")
    runs = _profile_runs(notebook, checked_name(profile, "profile"))
    if only is not None and only not in runs:
        hint = did_you_mean(only, list(runs))
        raise UsageError(
            f"profile '{profile}' has no run '{only}' of {notebook.stem}{hint}: known are {', '.join(runs)}."
        )
    parameters = parameters_of(notebook)
    settings = read_notebook(notebook).metadata.get("emoser", {}).get("settings")
    if settings and settings not in CHAPTERS:
        raise DataError(
            f"{notebook}: emoser.settings in its metadata is '{settings}', not one of {', '.join(CHAPTERS)}."
        )
    planned = []
    for changed in variants:
        for name in [only] if only else runs:
            values = resolve(parameters, {**runs[name], **changed})
            if settings:
                values = CHAPTERS[settings].check(**values).absolute(values)
            planned.append(PlannedRun(notebook, profile, name, values, changed))
    return planned


def prepared(planned: PlannedRun, if_here: bool = False) -> Prepared[Settings] | None:
    """Check a run's corpus against its chapter and parameters, as the chapter does when it begins (`prepare`).

    Args:
        planned: the run.
        if_here: only where the corpus is on this machine.

    Returns:
        What the chapter starts with; ``None`` for a notebook that is no chapter, or a corpus that is not here.

    Raises:
        UsageError: a parameter does not fit the corpus.
        DataError: the corpus cannot be read, or is not fit for the chapter.
    """
    if "settings" not in read_notebook(planned.notebook).metadata.get("emoser", {}):
        return None
    settings = settings_of(planned)
    return prepare(settings) if is_here(settings) or not if_here else None


def settings_of(planned: PlannedRun) -> Settings:
    """Build the settings of a planned run, as its notebook names them."""
    return CHAPTERS[read_notebook(planned.notebook).metadata["emoser"]["settings"]].check(**planned.parameters)


def profile_names(folder: Path) -> list[str]:
    """List the profiles that lie in ``folder``/profiles."""
    return sorted(path.stem for path in (folder / "profiles").glob("*.yaml"))


def chapters_in(folder: Path, profile: str) -> dict[str, dict[str, dict[str, Any] | None] | None]:
    """Read a profile: notebook -> run -> values, of the chapters that it names.

    Args:
        folder: that of the notebooks; its profiles lie in ``profiles/``.
        profile: its name.

    Raises:
        UsageError: there is no such profile.
        DataError: its file is damaged.
    """
    chapters = {name: runs for name, runs in read_profile(folder, profile).items() if name != SWEEPS}
    try:
        return PROFILE_SHAPE.validate_python(chapters)
    except ValidationError:
        path = folder / "profiles" / f"{profile}.yaml"
        raise DataError(f"{path} is not of the form 'notebook: {{run: {{name: value}}}}': correct it.") from None


def read_profile(folder: Path, profile: str) -> dict[Any, Any]:
    """Read a profile's file, unchecked; arguments and errors as `chapters_in`."""
    path = folder / "profiles" / f"{profile}.yaml"
    if not path.is_file():
        known = profile_names(folder)
        raise UsageError(
            f"there is no profile '{profile}'{did_you_mean(profile, known)}: known are {', '.join(known) or 'none'}."
        )
    try:
        found = load_yaml(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not YAML ({str(error).splitlines()[0]}): correct it.") from None
    if not isinstance(found, dict):
        raise DataError(f"{path} is not of the form 'notebook: {{run: {{name: value}}}}': correct it.")
    return found


def _profile_runs(notebook: Path, profile: str) -> dict[str, dict[str, Any]]:
    chapters = chapters_in(notebook.parent, profile)
    if notebook.stem not in chapters:
        raise UsageError(
            f"profile '{profile}' has no run of {notebook.stem}: it has runs of {', '.join(chapters) or 'nothing'}."
        )
    try:
        return {checked_name(name, "run"): values or {} for name, values in (chapters[notebook.stem] or {}).items()}
    except UsageError as error:
        raise DataError(f"{notebook.parent / 'profiles' / profile}.yaml: {error}") from None


def _as_typed(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "'" + text.replace("'", "'\\''") + "'"
