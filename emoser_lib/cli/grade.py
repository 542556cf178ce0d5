"""`emoser grade`: run the checks of students' notebooks again."""

from pathlib import Path

import click

from emoser_lib.environment import ROOT
from emoser_lib.files import write_whole
from emoser_lib.teaching.grading import grade_folder, grades_table, read_assignments


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--assignments",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=ROOT / "notebooks" / "assignments",
    help="Folder of the assignments with their solutions (default: the project's).",
)
@click.option(
    "--seconds",
    type=click.IntRange(min=1),
    default=60,
    show_default=True,
    help="What all checks of one notebook may take.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the table there and not to the screen.")
def grade(folder: Path, assignments: Path, seconds: int, out: Path | None) -> None:
    """Run the checks of the students' notebooks below FOLDER again, and print a table (CSV) of those passed.

    A student's marked cells are put into the assignment's own notebook and run in a fresh kernel, in a folder of their
    own. What their notebook shows as printed is not read. It is no sandbox: their code can do what you can.
    """
    table = grades_table(grade_folder(folder, read_assignments(assignments), seconds))
    if out is None:
        print(table, end="")
    else:
        write_whole(out, table)
        print(f"{out}: {table.count(chr(10)) - 1} notebooks")
