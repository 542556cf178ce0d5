"""What a result was computed with: date, versions, hardware, commit; and where the checkout lies."""

import os
import platform
import subprocess
import sys
import tomllib
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from emoser_lib import __version__

PACKAGES = (
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "librosa",
    "soundfile",
    "torch",
    "transformers",
    "peft",
    "papermill",
)
"""Whose versions a record holds."""

ROOT = Path(__file__).resolve().parents[1]
"""The folder that the library lies in: of a checkout, or where pip installed it."""


def shipped_files(root: Path = ROOT) -> Path:
    """Return the folder with ``notebooks/`` and ``book/``: in a checkout its own, in a wheel one inside the package.

    The wheel's is filled as ``pyproject.toml`` says; this is the one place that knows where it is.

    Args:
        root: the folder that the library lies in.

    >>> (shipped_files() / "notebooks/profiles/demo.yaml").is_file()
    True
    """
    inside = root / "emoser_lib" / "shipped"
    return inside if inside.is_dir() else root


RUN_FOLDER = "EMOSER_RUN_FOLDER"
"""Environment variable: where the runner wants answers and progress from the kernel; unset in Lab and papermill."""


def now() -> str:
    """Return the UTC date and time, to the second.

    >>> now().endswith("Z")
    True
    """
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def versions() -> dict[str, str]:
    """Return the versions of Python and of those packages that compute and are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def hardware() -> dict[str, Any]:
    """Describe processor, cores and memory of this machine."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.system(),
    }


def computing() -> dict[str, Any]:
    """Return what this process has computed with so far.

    Returns:
        ``accelerator``, ``accelerator_memory_mb``: name of the GPU and the most memory that tensors took of it; both
        ``None`` where it used none of CUDA's or ROCm's (Apple's keeps no peak). ``processes``: how many compute
        together, as torchrun and accelerate say it.

    >>> computing()["processes"]
    1
    """
    torch = sys.modules.get("torch")  # what has not been imported has used none, and importing it takes seconds
    peaks = [(0, 0)]
    if torch and torch.cuda.is_initialized():
        peaks += [(torch.cuda.max_memory_allocated(index), index) for index in range(torch.cuda.device_count())]
    peak, index = max(peaks)
    return {
        "accelerator": torch.cuda.get_device_name(index) if torch and peak else None,
        "accelerator_memory_mb": round(peak / 2**20) if peak else None,
        "processes": int(os.environ.get("WORLD_SIZE", 1)),
    }


def commit(root: Path = ROOT) -> str:
    """Return the commit of this project's checkout, ``-dirty`` where tracked files differ; else the package's version.

    Args:
        root: the folder that the library lies in. Where the library is installed, a git repository around it is
            another project's.
    """
    try:
        ours = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"] == "emoser"
        if ours and Path(_git(root, "rev-parse", "--show-toplevel")).samefile(root):
            return _git(root, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, ValueError, KeyError, subprocess.CalledProcessError):
        pass  # no pyproject.toml or another project's, no git, or no commit yet
    return f"emoser {__version__}"


def _git(root: Path, *arguments: str) -> str:
    # Inside a git hook these name the repository of the hook.
    others = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
    environment = {name: value for name, value in os.environ.items() if name not in others}
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
