"""What a result was computed with: this project's commit, never another's, and the accelerator that was used."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from emoser_lib import __version__
from emoser_lib.environment import ROOT, commit, computing

INSTALLED = f"emoser {__version__}"


def repository(folder: Path) -> str:
    """Make a folder a git repository with one commit of what lies in it; returns that commit."""
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "--allow-empty", "-m", "One"]):
        subprocess.run([*git, *arguments], check=True)
    done = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    return done.stdout.strip()[:12]


def test_a_checkout_names_its_commit_and_whether_files_differ(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert commit(tmp_path) == INSTALLED, "no git yet"
    made = repository(tmp_path)
    assert commit(tmp_path) == made
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + "\n")
    assert commit(tmp_path) == f"{made}-dirty"


def test_a_repository_around_an_installed_library_is_not_ours(tmp_path: Path) -> None:
    packages = tmp_path / ".venv" / "lib" / "site-packages"
    packages.mkdir(parents=True)
    foreign = repository(tmp_path)
    assert commit(packages) == INSTALLED
    shutil.copy(ROOT / "pyproject.toml", packages)  # an unpacked archive of this project inside another repository
    assert commit(packages) == INSTALLED
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "theirs"\n')
    assert commit(tmp_path) == INSTALLED, "the library was copied into another project"
    assert foreign


def test_a_git_hook_of_another_repository_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()
    shutil.copy(ROOT / "pyproject.toml", ours)
    repository(theirs)
    monkeypatch.setenv("GIT_DIR", str(theirs / ".git"))
    assert commit(ours) == INSTALLED


def test_without_git_the_version_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() == INSTALLED


def with_gpus(monkeypatch: pytest.MonkeyPatch, *peaks: int, initialised: bool = True) -> None:
    """A torch that sees GPUs of which so many bytes were used at most."""
    cuda = SimpleNamespace(
        is_initialized=lambda: initialised,
        device_count=lambda: len(peaks),
        max_memory_allocated=lambda index: peaks[index],
        get_device_name=lambda index: f"GPU {index}",
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))


def test_the_gpu_that_computed_is_named_with_its_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 0, 3 * 2**30)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert computing() == {"accelerator": "GPU 1", "accelerator_memory_mb": 3072, "processes": 2}


@pytest.mark.parametrize(("peaks", "initialised"), [((2**30,), False), ((0, 0), True), ((), True)])
def test_a_gpu_that_was_not_used_is_not_named(
    peaks: tuple[int, ...], initialised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch, *peaks, initialised=initialised)
    assert computing() == {"accelerator": None, "accelerator_memory_mb": None, "processes": 1}


def test_tests_see_no_settings_of_the_user(root: Path) -> None:
    users = {"HF_HUB_OFFLINE": "1", "HF_TOKEN": "x", "EMOSER_MODELS": "nowhere", "EMOSER_DEVICE": "cpu"}
    kept = {"EMOSER_DATA": "data"}
    code = "import os, tests.conftest; print(*sorted(os.environ))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EMOSER_")} | users | kept
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) & (set(users) | set(kept)) == set(kept)
