"""Open JupyterLab on a copy of the notebooks, in work/: `python scripts/lab.py [reader|student|instructor] [OPTION …]`.

The notebooks of git stay as they are. What was changed in work/ is never overwritten. Options go to JupyterLab.
"""

import os
import sys
from pathlib import Path

from emoser_lib.environment import ROOT
from emoser_lib.errors import DataError
from emoser_lib.teaching.editions import BuiltBook, Edition, copy_notebooks

WORK = ROOT / "work"


def lab(folder: Path, options: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the command that opens Lab on a folder, and its environment, in which terminals find `emoser`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return [sys.executable, "-m", "jupyter", "lab", str(folder), *options], os.environ | {"PATH": path}


def main(edition: Edition, options: list[str]) -> None:
    """Copy, and become JupyterLab."""
    folder = WORK / edition
    for name in copy_notebooks(BuiltBook(ROOT).lab_notebooks(edition), folder):
        print(f"{folder / name} was changed, so it stays: delete it to have it new.")
    command, environment = lab(folder, options)
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    wanted = [word for word in sys.argv[1:2] if word in list(Edition)]
    try:
        main(Edition(wanted[0] if wanted else Edition.READER), sys.argv[1 + len(wanted) :])
    except DataError as error:
        sys.exit(f"emoser: {error}")
