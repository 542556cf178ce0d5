"""What this machine has and lacks. Needs the standard library alone, so that it helps before set-up too.

``python3 -m emoser_lib.doctor`` in a fresh clone, ``emoser doctor`` afterwards.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

PYTHON = (3, 11)

DISK_GB = 5.0
"""Free space for the environment (2.2 GB with the CPU build of torch), pip's downloads and the runs. Our choice."""

MEMORY_GB = 4.0
"""For one notebook of profile `demo` beside a browser. Our choice."""

RUN_MB = 10.0
"""Free space for one run of profile `demo`: its notebook, twice, its log and its record. Our choice."""

SOCKETS_BYTES = 60
"""The longest folder for a kernel's sockets: a path may have 107 (Linux) or 103 (macOS), up to 40 come behind it."""

WINDOWS = "runs and `make` do not work on Windows itself: install WSL (`wsl --install`) and use emoser in its Linux"

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

MAC_BROWSERS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


@dataclass(frozen=True)
class Need:
    """One thing the project needs.

    Attributes:
        name: what it is.
        ok: whether it is there.
        found: what was found, in a few words.
        needed_for: what does not work without it.
        way: how to get it, one command or sentence.
        optional: whether only some things need it.
    """

    name: str
    ok: bool
    found: str
    needed_for: str
    way: str
    optional: bool = False


def diagnose() -> list[Need]:
    """Look for everything, one `Need` each; nothing heavy is imported.

    >>> [need.name for need in diagnose()][0]
    'Python'
    """
    if sys.platform == "win32":
        return [_python(), Need("system", False, "Windows", "everything", WINDOWS)]
    machine = (_disk(), _memory(), _runs(), _cache(), _sockets(), _data(), _models(), _gpu())
    return [_python(), *_packages(), _espeak(), _chromium(), *machine]


def render(needs: Iterable[Need]) -> str:
    """Write one line per need: ok or missing, what was found and, where it is missing, the way to get it.

    >>> print(render([Need("espeak-ng", False, "not on PATH", "a new corpus", "`apt-get install espeak-ng`", True)]))
    missing  espeak-ng: not on PATH; only for a new corpus; to get it: `apt-get install espeak-ng`
    """
    lines = []
    for need in needs:
        line = f"{_status(need):<8} {need.name}: {need.found}"
        if not need.ok:
            line += f"; {'only ' if need.optional else ''}for {need.needed_for}; to get it: {need.way}"
        lines.append(line)
    return "\n".join(lines)


def _status(need: Need) -> str:
    return "ok" if need.ok else "missing"


def find_browser() -> Path | None:
    """Find the Chromium (or Chrome) that the browser tests drive, if there is one."""
    named = (shutil.which(name) for name in BROWSERS)
    return next((Path(path) for path in (*named, *MAC_BROWSERS) if path and Path(path).exists()), None)


def _python() -> Need:
    found = f"{sys.version.split()[0]} at {sys.executable}"
    least = ".".join(map(str, PYTHON))
    way = f"install Python {least} or newer and name it: `make setup PYTHON=python3.12`"
    return Need("Python", sys.version_info >= PYTHON, found, "everything", way)


def _packages() -> list[Need]:
    """One line for the packages that everything needs, one for each optional group."""
    try:
        wanted = metadata.requires("emoser") or []
    except metadata.PackageNotFoundError:
        return [Need("packages", False, "emoser is not installed in this Python", "everything", "`make setup`")]
    groups: dict[str, list[str]] = {"": []}
    for requirement in wanted:
        in_group = re.search(r"extra\s*==\s*['\"](.+?)['\"]", requirement)
        groups.setdefault(in_group[1] if in_group else "", []).append(requirement.partition(";")[0].strip())
    return [_group(name, requirements) for name, requirements in groups.items()]


def _group(name: str, requirements: list[str]) -> Need:
    wrong = [problem for requirement in requirements if (problem := _unmet(requirement))]
    found = ", ".join(wrong) or f"all {len(requirements)}"
    title = f"packages [{name}]" if name else "packages"
    what = {
        "": "everything",
        "book": "building the book",
        "lab": "JupyterLab",
        "test": "`make test`",
        "app": "`emoser app`",
    }
    way = "`pip install 'emoser[app]' -c constraints.txt`" if name == "app" else "`make setup`"
    return Need(title, not wrong, found, what.get(name, "`make check`"), way, bool(name))


def _unmet(requirement: str) -> str | None:
    """What is wrong with one requirement, `None` if it is met."""
    if importlib.util.find_spec("packaging") is None:
        return "packaging is not installed"
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    try:
        version = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return f"{wanted.name} is not installed"
    if not wanted.specifier.contains(version, prereleases=True):
        return f"{wanted.name} is {version}, not {wanted.specifier}"
    return None


def _espeak() -> Need:
    path = shutil.which("espeak-ng")
    way = "`apt-get install espeak-ng` or `brew install espeak-ng`"
    return Need("espeak-ng", bool(path), path or "not on PATH", "making the demo corpus anew", way, True)


def _chromium() -> Need:
    path = find_browser()
    way = "`make browser` as root, or `sudo apt-get install chromium`"
    return Need("Chromium", bool(path), str(path or "not found"), "the browser tests", way, True)


def _disk() -> Need:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    way = f"make room: {DISK_GB:.0f} GB are wanted"
    return Need("disk", free >= DISK_GB, f"{free:.0f} GB free in {Path.cwd()}", "the environment and the runs", way)


def _memory() -> Need:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    way = f"use a machine with {MEMORY_GB:.0f} GB"
    return Need("memory", total >= MEMORY_GB, f"{total:.0f} GB, {os.cpu_count()} cores", "running notebooks", way)


def obstacle(folder: Path, megabytes: float = RUN_MB) -> str:
    """Say why nothing can be written to a folder, be it there or to be made; nothing where it can.

    Args:
        folder: looked at, as are those it would be made in; nothing is written.
        megabytes: that must be free.

    >>> obstacle(Path.cwd() / "new", megabytes=0.0), obstacle(Path.cwd(), megabytes=1e12)[-7:]
    ('', 'MB left')
    """
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        if not there.is_dir():
            return f"{there} is a link without end or no folder"
        if not os.access(there, os.W_OK | os.X_OK):
            return f"{there} may only be read"
        free = shutil.disk_usage(there).free / 1e6
    except OSError as error:
        return error.strerror or str(error)
    return f"the disk has {free:.1f} MB left" if free < megabytes else ""


def _unlocked(folder: Path) -> str:
    """Why no file of a folder can be locked."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    try:
        import fcntl

        with tempfile.TemporaryFile(dir=there) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        return f"{there} has no locks ({error.strerror}): Lustre without -o flock, NFS without lockd"
    return ""


def _place(name: str, folder: Path, needed_for: str, way: str) -> Need:
    wrong = obstacle(folder) or _unlocked(folder)
    return Need(name, not wrong, wrong or str(folder), needed_for, f"make room, or {way}")


def _runs() -> Need:
    return _place("runs", Path.cwd() / "runs", "`emoser run` here", "name another folder with --runs")


def _cache() -> Need:
    return _place("cache", _named("EMOSER_CACHE", Path("~/.cache/emoser")), "every run", "set EMOSER_CACHE to a folder")


def _sockets() -> Need:
    """Where a kernel's sockets may stand."""
    folders = [Path(tempfile.gettempdir()), Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp"), Path("/tmp")]
    short = [folder for folder in folders if len(os.fsencode(folder)) <= SOCKETS_BYTES]
    wrong = [obstacle(folder, 0.1) for folder in short]
    fit = next((str(folder) for folder, said in zip(short, wrong, strict=True) if not said), "")
    way = f"set TMPDIR to a folder of at most {SOCKETS_BYTES} bytes with room"
    return Need("temporary files", bool(fit), fit or "; ".join(wrong) or str(folders[0]), "every run", way)


def _named(variable: str, default: Path) -> Path:
    """The folder that an environment variable names; a link without end as it is."""
    folder = Path(os.environ.get(variable) or default)
    try:
        return folder.expanduser().resolve()
    except (OSError, RuntimeError):
        return folder


def _folder(variable: str, name: str) -> tuple[Path, list[str]]:
    """The folder that an environment variable names, else that of this name in the cache; the folders in it."""
    folder = _named(variable, _named("EMOSER_CACHE", Path("~/.cache/emoser")) / name)
    try:
        return folder, sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    except OSError:  # it may not be read
        return folder, []


def _data() -> Need:
    folder, inside = _folder("EMOSER_DATA", "data")
    found = f"{', '.join(inside)} in {folder}" if inside else f"nothing in {folder}"
    way = "`emoser corpus fetch NAME`, or set EMOSER_DATA to the folder that holds the corpora"
    return Need("data", bool(inside), found, "corpora other than demo", way, True)


def _models() -> Need:
    folder, inside = _folder("EMOSER_MODELS", "models")
    found = f"{', '.join(inside)} in {folder}" if inside else f"nothing in {folder}"
    way = "put each into <org>--<name> below it, or set EMOSER_MODELS to the folder that holds them"
    return Need("models", bool(inside), found, "profiles other than demo", way, True)


def _gpu() -> Need:
    """A GPU counts if the installed torch can use it; torch is imported only where that is possible."""
    for_what, way = "profile paper", "an NVIDIA GPU with its driver on Linux, then `make setup TORCH=cuda`"
    try:
        build = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return Need("GPU", False, "torch is not installed", for_what, "`make setup`", True)
    if build.endswith("+cpu"):
        return Need("GPU", False, f"torch {build} is the CPU build", for_what, way, True)
    ask = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    name = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False).stdout.strip()
    return Need("GPU", bool(name), name or f"torch {build} sees none", for_what, way, True)


def print_report(as_json: bool = False) -> int:
    """Print the needs, as lines or as JSON; return 1 if something is missing that everything needs, else 0."""
    needs = diagnose()
    if as_json:
        print(json.dumps([{"status": _status(need)} | asdict(need) for need in needs], indent=2, ensure_ascii=False))
    else:
        print(render(needs))
    return int(any(not need.ok and not need.optional for need in needs))


if __name__ == "__main__":
    sys.exit(print_report(as_json="--json" in sys.argv[1:]))
