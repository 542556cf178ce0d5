"""Find what a user calls a run: its folder, its key, or an exported system."""

from dataclasses import dataclass
from pathlib import Path

from emoser_lib.corpora import absolute
from emoser_lib.errors import UsageError, did_you_mean
from emoser_lib.experiments.predicting.kept import SYSTEM_FILE
from emoser_lib.experiments.runs.records import Record, RunStatus, read_record


@dataclass(frozen=True)
class Found:
    """A folder of a finished run, or of an exported system.

    Attributes:
        folder: where it is.
        record: of the run; ``None``: the folder is an exported system.
    """

    folder: Path
    record: Record | None


def find_run(run: str | Path, runs: str | Path = "runs") -> Found:
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
