"""pyproject.toml, constraints.txt and environment.yml say the same; the Makefile keeps its word."""

import ast
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version


@pytest.fixture(scope="session")
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="session")
def pins(root: Path) -> dict[str, Version]:
    lines = [line for line in (root / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.!]+", line) for line in lines), "one NAME==VERSION a line, no local versions"
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)}


@pytest.fixture(scope="session")
def conda(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "environment.yml").read_text())


def requirements(project: dict[str, Any]) -> list[Requirement]:
    extras = project["optional-dependencies"].values()
    return [Requirement(text) for text in [*project["dependencies"], *(text for extra in extras for text in extra)]]


def test_every_requirement_is_pinned_within_its_bounds(project: dict[str, Any], pins: dict[str, Version]) -> None:
    for requirement in requirements(project):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin, f"{requirement.name} has no pin in constraints.txt"
        assert pin in requirement.specifier, f"{requirement.name} is pinned to {pin}, not {requirement.specifier}"


def test_this_environment_is_the_pinned_one(project: dict[str, Any], pins: dict[str, Version]) -> None:
    # The first on the path is the one that is imported; setuptools, once imported, adds packages of its own at the end.
    found = reversed(list(metadata.distributions()))
    installed = {canonicalize_name(d.name): Version(d.version) for d in found}
    apart = [Requirement(text).name for text in project["optional-dependencies"]["app"]]  # not a part of `make setup`
    for requirement in requirements(project):
        name = canonicalize_name(requirement.name)
        if name in apart:
            continue
        assert installed[name].public == pins[name].public, f"{name}: run `make setup`"


def test_nothing_that_is_installed_lacks_a_pin(pins: dict[str, Version]) -> None:
    """What pip brings along counts too: an unpinned dependency of a dependency may change overnight."""
    waiting = [("emoser", frozenset({"emotion2vec", "book", "cluster", "lab", "test", "dev"}))]
    reached = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        for wanted in map(Requirement, metadata.requires(name) or []):
            if wanted.marker and not any(wanted.marker.evaluate({"extra": extra}) for extra in extras | {""}):
                continue
            found = (canonicalize_name(wanted.name), frozenset(wanted.extras))
            if found not in reached:
                reached.add(found)
                waiting.append(found)
    names = {name for name, _ in reached} - {"emoser"}
    build_of_torch = {name for name in names if name.startswith(("nvidia-", "cuda-")) or name == "triton"}
    assert names - build_of_torch - {"pip"} <= set(pins)


def test_conda_installs_the_same(root: Path, project: dict[str, Any], conda: dict[str, Any]) -> None:
    pip = next(entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))
    assert "-c constraints.txt" in pip
    editable = next(line for line in pip if line.startswith("-e "))
    extras = set(re.fullmatch(r"-e \.\[([\w,]+)\]", editable)[1].split(","))
    assert {"emotion2vec", "book", "lab"} <= extras <= set(project["optional-dependencies"])
    named = {re.split(r"[=<>]", entry)[0] for entry in conda["dependencies"] if isinstance(entry, str)}
    assert named == {"python", "pip", "make"}, "packages come from pip alone, so that they have one version"


def test_python_versions_agree(root: Path, project: dict[str, Any], conda: dict[str, Any]) -> None:
    wanted = SpecifierSet(project["requires-python"])
    assert str(wanted) == ">=3.11"
    python = next(entry for entry in conda["dependencies"] if str(entry).startswith("python="))
    assert python.split("=")[1] in wanted
    tools = tomllib.loads((root / "pyproject.toml").read_text())["tool"]
    assert (tools["ruff"]["target-version"], tools["mypy"]["python_version"]) == ("py311", "3.11")
    assert "(3, 11)" in (root / "scripts/set_up.sh").read_text()


def test_what_library_and_scripts_import_is_declared(root: Path, project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["emotion2vec"], *extras["app"]]
    declared, of_book, of_tests = (
        {canonicalize_name(Requirement(text).name) for text in texts}
        for texts in (needed, extras["book"], extras["test"])
    )
    providers = metadata.packages_distributions()
    scripts = list((root / "scripts").glob("*.py"))
    own = {"emoser_lib", *(path.stem for path in scripts)}  # scripts may share a module
    for path in sorted([*(root / "emoser_lib").rglob("*.py"), *scripts]):
        of_pages = path.parent.name in ("teaching", "book")  # they work on the book; who only runs chapters lacks it
        may = declared | of_book if of_pages else declared
        if path in scripts:  # `make` sets up all extras; they print pages with the tests' browser
            may = declared | of_book | of_tests
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            of_book_alone = [name for name in names if name.startswith("emoser_lib.reporting.book")]
            assert of_pages or path in scripts or not of_book_alone, f"{path.name} imports what only the book can"
            for top in {name.split(".")[0] for name in names} - sys.stdlib_module_names - own:
                of = {canonicalize_name(name) for name in providers.get(top, [top])}
                assert of & may, f"{path.name} imports {top}: declare it in pyproject.toml"


def test_versions_agree(root: Path) -> None:
    import emoser_lib

    assert yaml.safe_load((root / "CITATION.cff").read_text())["version"] == emoser_lib.__version__


def test_citation_names_both_papers(root: Path) -> None:
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    urls = [reference["url"] for reference in citation["references"]]
    assert any("EmoSPeech2024" in url for url in urls)
    assert any("2508.14130" in url for url in urls)


def test_the_wheel_holds_the_demo_corpus(root: Path, tmp_path: Path) -> None:
    for name in ("emoser_lib", "pyproject.toml", "README.md", "LICENSE"):
        source = root / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    data = root / "emoser_lib/corpora/demo_data"
    shipped = {str(path.relative_to(root)) for path in data.rglob("*") if path.is_file()}
    assert shipped, "the demo corpus is not there"
    assert shipped <= inside
    assert not any(name.startswith(("tests/", "book/", "notebooks/")) for name in inside)


def make(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=root, capture_output=True, text=True, check=False)


def test_make_help_lists_every_target(root: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE)
    listed = re.findall(r"^  make ([\w-]+) +\S", make(root, "help").stdout, re.MULTILINE)
    assert listed == targets
    assert make(root).stdout == make(root, "help").stdout, "help is what plain `make` does"
    phony = re.search(r"^\.PHONY: (.+)$", (root / "Makefile").read_text(), re.MULTILINE)
    assert set(phony[1].split()) == set(targets)


@pytest.fixture
def clone(root: Path, tmp_path: Path) -> Path:
    """A folder with what set-up reads, and no environment."""
    (tmp_path / "scripts").mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "scripts/set_up.sh"):
        shutil.copy(root / name, tmp_path / name)
    return tmp_path


def test_an_old_python_is_named(clone: Path) -> None:
    old = clone / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")  # what it answers when asked whether it is 3.11 or newer
    old.chmod(0o755)
    done = make(clone, "setup", f"PYTHON={old}")
    assert done.returncode != 0
    assert "is not a Python 3.11 or newer" in done.stderr
    assert not (clone / ".venv").exists()


@pytest.fixture
def complete(clone: Path) -> Path:
    """The same with an environment that has all, as set-up writes it down."""
    subprocess.run([sys.executable, "-m", "venv", clone / ".venv"], check=True)
    version = re.search(r"^torch==(.+)$", (clone / "constraints.txt").read_text(), re.MULTILINE)[1]
    (clone / ".venv/torch.done").write_text(f"cpu {version}\n")
    counted = subprocess.run("cat pyproject.toml constraints.txt | cksum > .venv/packages.done", shell=True, cwd=clone)
    assert counted.returncode == 0
    return clone


def python(folder: Path, release: str) -> Path:
    """A program that says it is this Python, and makes no environment."""
    fake = folder / f"python{release}"
    fake.write_text(f"#!/bin/sh\ncase $1 in -c) echo {release} ;; *) echo asked: $* >&2; exit 7 ;; esac\n")
    fake.chmod(0o755)
    return fake


def test_a_complete_environment_stays_whatever_python3_is(complete: Path) -> None:
    own = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    python(complete, "3.99").rename(complete / "python3")
    path = f"PATH={complete}:{os.environ['PATH']}"
    for arguments in ([], [f"PYTHON={Path(sys.base_prefix) / 'bin' / own}"], [path]):
        done = make(complete, "setup", *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), arguments


def test_another_python_makes_the_environment_anew_and_one_that_is_not_there_is_named(complete: Path) -> None:
    done = make(complete, "setup", "PYTHON=python9.99")
    assert done.returncode != 0
    assert "python9.99 is not a Python 3.11 or newer" in done.stderr
    assert (complete / ".venv/packages.done").exists()
    done = make(complete, "setup", f"PYTHON={python(complete, '3.99')}")
    assert ".venv has another Python than 3.99: making it anew." in done.stdout
    assert "asked: -m venv --clear .venv" in done.stderr


def test_an_unknown_build_of_torch_is_named(clone: Path) -> None:
    done = make(clone, "setup", "TORCH=gpu")
    assert done.returncode != 0
    assert "TORCH=gpu: it must be cpu or cuda." in done.stderr
    assert not (clone / ".venv").exists()


SLOW_RUN = """
rule book:
    output: "book.txt"
    shell: "echo start >> log.txt; sleep 3; echo $OMP_NUM_THREADS > {output}; echo end >> log.txt"
"""


@pytest.mark.slow
def test_a_killed_build_goes_on_and_never_runs_twice_at_once(root: Path, tmp_path: Path) -> None:
    for folder in ("scripts", "notebooks"):
        (tmp_path / folder).mkdir()
    shutil.copy(root / "scripts/workflow.py", tmp_path / "scripts")
    (tmp_path / "notebooks/Snakefile").write_text(SLOW_RUN)
    command = [sys.executable, "scripts/workflow.py", "--cores", "1", "book"]

    killed = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "log.txt").exists():
        assert killed.poll() is None
        time.sleep(0.05)
    beside = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert beside.returncode == 1
    assert "another call" in beside.stderr

    killed.kill()  # Snakemake alone: its run lives on
    killed.wait()
    after = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert after.returncode == 0, after.stderr
    assert (tmp_path / "log.txt").read_text().split() == ["start", "end", "start", "end"]
    assert (tmp_path / "book.txt").read_text() == "1\n"
