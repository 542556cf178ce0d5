"""Find what a user calls a run: its folder, its key, or an exported system."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emoser_lib.corpora import absolute
from emoser_lib.errors import UsageError, did_you_mean
from emoser_lib.experiments.predicting.kept import SYSTEM_FILE
from emoser_lib.experiments.runs.records import Record, RunStatus, portable, read_record
from emoser_lib.experiments.runs.settling import OWN_PARAMETERS


@dataclass(frozen=True)
class Found:
    """A folder of a finished run, or of an exported system.

    Attributes:
        folder: where it is.
        record: of the run; ``None``: the folder is an exported system.
    """

    folder: Path
    record: Record | None

    @property
    def parameters(self) -> dict[str, Any]:
        """A run's parameters with the paths of this machine, which its record does not tell.

        Raises:
            UsageError: the run was not made on this machine, and has a folder among them.
        """
        assert self.record is not None
        path = self.folder / OWN_PARAMETERS
        own = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else self.record.parameters
        if portable(own) != self.record.parameters or "…/" in json.dumps(own, ensure_ascii=False):
            raise UsageError(
                f"{self.folder} does not say where its corpus and models are ({path.name}): repeat the run."
            )
        return dict(own)


def find_system(run: str | Path, runs: str | Path = "runs") -> Found:
    """Find a finished run or an exported system.

    Args:
        run: a run's folder, its key such as "demo-6c2a415a", or an exported folder.
        runs: where keys are looked up.

    Raises:
        UsageError: there is none, several have the key, or the run did not end well.
        DataError: the record is damaged.
    """
    home, path = absolute(runs), absolute(run)
    if (path / SYSTEM_FILE).is_file():
        return Found(path, None)
    named = [path] if (path / "record.json").is_file() else []
    found = named or [one.parent for one in sorted(home.glob("*/*/record.json")) if one.parent.name == str(run)]
    if not found:
        known = sorted({one.parent.name for one in home.glob("*/*/record.json")})
        hint = did_you_mean(Path(run).name, known)
        raise UsageError(
            f"there is no run '{run}'{hint}: give a run's folder (with its record.json), its key below {home} "
            "(--runs), or an exported folder."
        )
    if len(found) > 1:
        chapters = ", ".join(one.parent.name for one in found)
        raise UsageError(f"runs of {chapters} have the key '{run}': give the folder of one of them.")
    record = read_record(found[0] / "record.json")
    if record.status is not RunStatus.OK:
        raise UsageError(f"the run {found[0]} is '{record.status}', so it has no system: repeat it ({record.command}).")
    return Found(found[0], record)
