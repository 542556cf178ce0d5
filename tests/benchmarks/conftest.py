"""Pages with a benchmark's tables, built for real."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def built(root: Path, tmp_path: Path) -> Callable[..., str]:
    """The text of a book of one page with a directive, and what was measured (or not) where it looks for it."""

    def build(directive: str, extension: str, place: str, found: dict[str, Any] | None) -> str:
        source = tmp_path / "source"
        path = source / "benchmark" / place
        path.parent.mkdir(parents=True)
        if found is not None:
            path.write_text(json.dumps(found), encoding="utf-8")
        extensions = str(root / "book" / "extensions")
        (source / "conf.py").write_text(
            f"import sys\nsys.path.append({extensions!r})\nextensions = ['myst_parser', {extension!r}]\n"
        )
        (source / "index.md").write_text(f"# Page\n\n```{{{directive}}}\n```\n")
        command = [sys.executable, "-B", "-m", "sphinx", "-q", "-W", "-b", "html", str(source), str(tmp_path / "html")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        page = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
        return re.sub(r"\s+", " ", re.sub(r"<[^>]*>|\s+", " ", page)).replace("’", "'")

    return build
