"""Make an edition of the built book: `python scripts/edition.py student` (or instructor), into book/_build/student.

It has the pages (``html``) and the notebooks to be worked in (``notebooks``).
"""

import shutil
import subprocess
import sys

from emoser_lib.environment import ROOT
from emoser_lib.teaching.editions import BuiltBook, Edition, stage_edition


def main(edition: Edition) -> None:
    """Lay it out, and build its pages."""
    folder = ROOT / "book" / "_build" / edition
    stage_edition(BuiltBook(ROOT), edition, folder)
    command = ["jupyter-book", "build", str(folder / "source"), "--path-output", str(folder)]
    subprocess.run([*command, "-W", "-n", "--keep-going", "--quiet"], check=True)
    shutil.rmtree(folder / "html", ignore_errors=True)
    (folder / "_build" / "html").rename(folder / "html")
    shutil.rmtree(folder / "_build")
    print(f"The {edition} edition: {folder}/html/index.html, and {folder}/notebooks")


if __name__ == "__main__":
    main(Edition(sys.argv[1]))
