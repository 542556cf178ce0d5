"""`emoser doctor`: what is there, what is missing and how to get it, also on a bare Python."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emoser_lib.corpora import data_home
from emoser_lib.doctor import Need, diagnose, find_browser, print_report, render


def need(name: str) -> Need:
    return next(need for need in diagnose() if need.name == name)


def bare(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The doctor in a Python that sees the standard library and the project's folder alone."""
    command = [sys.executable, "-S", "-m", "emoser_lib.doctor", *arguments]
    return subprocess.run(command, cwd=root, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_this_environment_is_complete() -> None:
    missing = [need for need in diagnose() if not need.ok and not need.optional]
    assert not missing, render(missing)
    assert print_report() == 0


def test_works_before_set_up_and_says_what_to_do(root: Path) -> None:
    done = bare(root)
    assert done.returncode == 1, done.stderr
    assert "missing  packages: emoser is not installed" in done.stdout
    assert "`make setup`" in done.stdout
    assert "Traceback" not in done.stderr


def test_json_has_one_entry_a_line(root: Path) -> None:
    lines = bare(root).stdout.splitlines()
    entries = json.loads(bare(root, "--json").stdout)
    assert [entry["status"] for entry in entries] == [line.split()[0] for line in lines]
    assert {"name", "status", "found", "way", "needed_for", "optional"} <= set(entries[0])


def test_names_the_package_that_is_missing_or_old(monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = ["numpy>=1", "pandas>=999", "no-such-package>=1", 'jupyterlab>=999; extra == "lab"']
    monkeypatch.setattr("emoser_lib.doctor.metadata.requires", lambda name: requirements)
    packages, lab = need("packages"), need("packages [lab]")
    assert not packages.ok
    assert "no-such-package is not installed" in packages.found
    assert "pandas is " in packages.found
    assert "numpy" not in packages.found
    assert not lab.ok
    assert lab.optional, "JupyterLab is not needed for everything"


def test_lists_the_corpora_of_the_folder_that_corpora_uses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMOSER_DATA", str(tmp_path))
    assert not need("data").ok
    (tmp_path / "meacorpus").mkdir()
    assert need("data").ok
    assert "meacorpus" in need("data").found
    monkeypatch.delenv("EMOSER_DATA")
    assert str(data_home()) in need("data").found


def test_finds_programs_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("emoser_lib.doctor.MAC_BROWSERS", ())
    assert find_browser() is None
    assert not need("espeak-ng").ok
    for name in ("chromium", "espeak-ng"):
        (tmp_path / name).touch(mode=0o755)
    assert find_browser() == tmp_path / "chromium"
    assert need("Chromium").ok
    assert need("espeak-ng").ok


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emoser_lib.doctor.DISK_GB", 1e9)
    assert not need("disk").ok
    assert print_report() == 1


def test_is_quick() -> None:
    started = time.monotonic()
    diagnose()
    assert time.monotonic() - started < 3


def test_links_without_end_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for name in ("EMOSER_CACHE", "EMOSER_DATA", "EMOSER_MODELS"):
        monkeypatch.setenv(name, str(loop))
    assert not need("cache").ok
    assert "link without end" in need("cache").found
    assert not need("data").ok


def test_places_where_no_run_is_possible_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A full disk, a folder that may only be read, no locks, temporary files far down."""
    monkeypatch.chdir(tmp_path)
    assert need("runs").ok and need("temporary files").ok
    with monkeypatch.context() as patch:
        patch.setattr("emoser_lib.doctor.shutil.disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
        assert "0.0 MB left" in need("runs").found
        assert not need("temporary files").ok
    with monkeypatch.context() as patch:
        patch.setattr("emoser_lib.doctor.os.access", lambda path, mode: False)
        assert f"{tmp_path} may only be read" in need("runs").found

    def no_locks(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", no_locks)
        assert "has no locks (Function not implemented)" in need("runs").found
    far = tmp_path / ("t" * 80)
    far.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(far))
    assert need("temporary files").found != str(far), "its kernels' sockets stand elsewhere"
