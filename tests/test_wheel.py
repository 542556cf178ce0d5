"""The wheel alone, in an empty folder: notebooks, profiles, claims and records are in it."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from emoser_lib import __version__
from emoser_lib.corpora import load_corpus

COMMAND = """
import sys
from pathlib import Path
from emoser_lib.cli import main
try:
    main()
finally:
    places = {Path(module.__file__) for name, module in sys.modules.items() if name.split(".")[0] == "emoser_lib"}
    assert places and all(place.is_relative_to(sys.path[1]) for place in places), places
"""
"""The command, which says so if any of it comes from elsewhere than the wheel (the first entry of PYTHONPATH)."""


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files, as pip lays them out."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(root)]
    subprocess.run(command, check=True, capture_output=True)
    [wheel] = folder.glob("emoser-*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_what_the_commands_read(site: Path, root: Path) -> None:
    shipped = site / "emoser_lib" / "shipped"
    for pattern in ("notebooks/*.ipynb", "notebooks/profiles/*.yaml", "book/records/*.json", "book/claims.yaml"):
        names = {path.name: path.read_bytes() for path in root.glob(pattern)}
        assert names == {path.name: path.read_bytes() for path in shipped.glob(pattern)}
    assert {path.name for path in site.iterdir()} == {"emoser_lib", f"emoser-{__version__}.dist-info"}


@pytest.mark.slow  # a kernel runs a chapter, and torch is imported anew by each command
def test_the_commands_work_without_the_checkout(site: Path, tmp_path: Path) -> None:
    gold = load_corpus("demo").gold_labels()
    pd.DataFrame({"id": [clip.removesuffix(".mp3") for clip in gold.index], "task_1": list(gold)}).to_csv(
        tmp_path / "results.csv", index=False
    )
    few = ["-p", "baselines", "[majority, text-svm]", "-p", "resamples", "100"]
    said = {}
    for name, arguments in {
        "check": ["corpus", "check", "demo", "--json"],
        "plan": ["plan", "03-classical", "--json"],
        "run": ["run", "03-classical", *few, "--json"],
        "predict": ["predict", "RUN", "--transcription", "qué alegría", "--json"],
        "score": ["score", "results.csv", "--corpus", "demo", "--json"],
        "ledger": ["ledger", "--json"],
    }.items():
        given = [str(next((tmp_path / "runs/03-classical").iterdir())) if one == "RUN" else one for one in arguments]
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *given],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (name, done.stderr)
        said[name] = json.loads(done.stdout)
    assert said["check"]["clips"] == 500
    assert (said["run"][0]["status"], said["run"][0]["commit"]) == ("ok", f"emoser {__version__}")
    assert said["score"]["task_1"]["macro_f1"] == 1
    assert any("-small-" in json.dumps(claim) for claim in said["ledger"]), "a record of the wheel answers a claim"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.csv", "runs"]
