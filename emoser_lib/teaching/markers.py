"""Where solutions stand in a notebook, and the notebook without them.

A chapter has ``{solution}`` blocks in its prose, and stubs: cells with nbgrader's markers, as assignments have them.
These have cells tagged ``teacher`` too.
"""

import re
from collections.abc import Iterator

import nbformat

SOLUTION_BLOCK = re.compile(r"(`{3,})\{solution\} (\S+)\n(.*?)\n\1(?!`)", re.DOTALL)
"""A solution in prose: fence, label of its exercise, options and text."""

SOLUTION_LINES = re.compile(r"^([ \t]*)### BEGIN SOLUTION[ \t]*\n(.*?)^[ \t]*### END SOLUTION[ \t]*$", re.M | re.S)
"""A solution in code: its indentation and lines."""

STUB = '# YOUR CODE HERE\nraise NotImplementedError("write your code here")'
"""What stands in the place of a solution in code."""

TEACHER = "teacher"
"""The tag of cells that are for the teacher."""


def for_students(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Copy a notebook without its solutions and without what is for the teacher.

    >>> cell = nbformat.v4.new_code_cell("def f(x):\\n    ### BEGIN SOLUTION\\n    return 2 * x\\n    ### END SOLUTION")
    >>> print(for_students(nbformat.v4.new_notebook(cells=[cell])).cells[0].source)
    def f(x):
        # YOUR CODE HERE
        raise NotImplementedError("write your code here")
    """
    page = nbformat.from_dict(notebook)
    page.cells = [cell for cell in page.cells if TEACHER not in cell.metadata.get("tags", [])]
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\n{3,}", "\n\n", SOLUTION_BLOCK.sub("", cell.source))
        else:
            cell.source = SOLUTION_LINES.sub(_stub, cell.source)
    return page


def for_readers(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Copy a chapter with stubs to be completed, the code of each folded in a cell below it.

    >>> cell = nbformat.v4.new_code_cell("def f(x):\\n    ### BEGIN SOLUTION\\n    return 2 * x\\n    ### END SOLUTION")
    >>> stub, folded = for_readers(nbformat.v4.new_notebook(cells=[cell])).cells
    >>> print(folded.source)
    <details><summary>The code</summary>
    <BLANKLINE>
    ```python
    def f(x):
        return 2 * x
    ```
    <BLANKLINE>
    </details>
    """
    page = nbformat.from_dict(notebook)
    page.cells = []
    for cell in notebook.cells:
        kept = nbformat.from_dict(cell)
        page.cells.append(kept)
        if cell.cell_type == "code" and SOLUTION_LINES.search(cell.source):
            kept.source = SOLUTION_LINES.sub(_stub, cell.source)
            code = SOLUTION_LINES.sub(lambda found: found[2].rstrip("\n"), cell.source)
            folded = f"<details><summary>The code</summary>\n\n```python\n{code}\n```\n\n</details>"
            page.cells.append(nbformat.v4.new_markdown_cell(folded, id=f"{cell.id}-code"))
    return page


def for_teachers(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Copy a notebook with its solutions open, and what is for the teacher in a box."""
    page = nbformat.from_dict(notebook)
    for cell in page.cells:
        if TEACHER in cell.metadata.get("tags", []):
            cell.source = teacher_box(cell.source)
        elif cell.cell_type == "markdown":
            cell.source = SOLUTION_BLOCK.sub(lambda found: found[0].replace(":class: dropdown\n", "", 1), cell.source)
    return page


def teacher_box(text: str) -> str:
    """Put a text for the teacher into a box of the page."""
    return f":::{{admonition}} For the teacher\n:class: tip\n\n{text}\n:::"


def solution_lines(notebook: nbformat.NotebookNode) -> Iterator[tuple[str, bool]]:
    """List what must not reach a student: each line of each solution and teacher's cell, and whether it is code."""
    for cell in notebook.cells:
        if TEACHER in cell.metadata.get("tags", []):
            yield from ((line.strip(), False) for line in cell.source.splitlines())
        elif cell.cell_type == "code":
            for _, lines in SOLUTION_LINES.findall(cell.source):
                yield from ((line.strip(), True) for line in lines.splitlines())
        else:
            for _, _, text in SOLUTION_BLOCK.findall(cell.source):
                code = False
                for line in text.splitlines():
                    code ^= line.startswith("```")
                    yield line.strip(), code


def _stub(found: re.Match[str]) -> str:
    return "\n".join(f"{found[1]}{line}" for line in STUB.splitlines())
