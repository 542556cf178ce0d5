"""What the feature cache holds on disk, by encoder and layer, and how it is deleted."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from emoser_lib.corpora import cache_home
from emoser_lib.errors import UsageError, did_you_mean
from emoser_lib.files import locked, remove
from emoser_lib.systems.declared import Layer

DAY_SECONDS = 86_400


def features_home() -> Path:
    """The folder of all cached frames."""
    return cache_home() / "features"


def lock_of(folder: Path) -> Path:
    """Beside an encoder's folder, so that it outlives a `prune`."""
    return folder.parent / f".{folder.name}.lock"


@dataclass(frozen=True)
class CachedEncoder:
    """What is kept of one encoder and layer.

    Attributes:
        key: name of its folder.
        title: "whisper-base (speech recognition)"; "unknown" where its description is lost.
        name: of the encoder.
        layer: whose output.
        entries: clips.
        bytes: on disk.
        last_used: seconds since 1970.
    """

    key: str
    title: str
    name: str
    layer: Layer | None
    entries: int
    bytes: int
    last_used: float


def cached_encoders(home: Path | None = None) -> list[CachedEncoder]:
    """What is kept, by encoder and layer, the largest first.

    Args:
        home: default ``features`` in the cache folder (`cache_home`).

    >>> cached_encoders(Path("/nowhere/at/all"))
    []
    """
    home = home or features_home()
    folders = [path for path in home.iterdir() if path.is_dir()] if home.is_dir() else []
    return sorted(map(_described, folders), key=lambda cached: (-cached.bytes, cached.key))


def _described(folder: Path) -> CachedEncoder:
    sizes = [path.lstat().st_size for path in folder.glob("*/*.safetensors")]
    words = folder / "encoder.json"
    try:
        facts = json.loads(words.read_text(encoding="utf-8") if words.is_file() else "")
        what = str(facts["encoder"]), str(facts["name"]), facts["layer"]
    except (OSError, ValueError, KeyError, TypeError):
        what = "unknown", "", None
    used = (words if words.is_file() else folder).stat().st_mtime
    return CachedEncoder(folder.name, *what, len(sizes), sum(sizes), used)


def prune(home: Path | None = None, older_than_days: float | None = None, encoder: str | None = None) -> int:
    """Delete cached frames, and return how many bytes they had.

    Args:
        home: default ``features`` in the cache folder (`cache_home`).
        older_than_days: only of encoders that were not used for so long.
        encoder: only of this encoder: its name, title or key.

    Raises:
        UsageError: nothing is kept of such an encoder.
    """
    home = home or features_home()
    kept = cached_encoders(home)
    if encoder is not None:
        names = sorted({cached.name for cached in kept} - {""})
        kept = [cached for cached in kept if encoder in (cached.name, cached.title, cached.key)]
        if not kept:
            raise UsageError(
                f"nothing is cached of encoder '{encoder}'{did_you_mean(encoder, names)}: see `emoser cache`."
            )
    oldest = time.time() - (older_than_days or 0) * DAY_SECONDS
    doomed = [cached for cached in kept if older_than_days is None or cached.last_used < oldest]
    for cached in doomed:
        with locked(lock_of(home / cached.key)):
            remove(home / cached.key)
    return sum(cached.bytes for cached in doomed)
