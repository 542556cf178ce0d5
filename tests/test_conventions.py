"""What holds for every file: the way imports go, public names, where test labels may be read, no leftovers."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ORDER = {
    "": (
        "doctor", "errors", "visible", "values", "files", "environment", "source", "versions",
        "corpora", "systems", "experiments", "reporting", "teaching", "cli",
    ),
    "systems": (
        "prompts", "arms", "classical", "declared", "finite", "device", "progress", "fitting",
        "checkpoints", "reading", "hearing", "qwen_audio",
    ),
    "experiments": ("judging", "training", "settings", "runs", "predicting", "planning"),
    "reporting": (
        "escaping", "report", "seeds", "recorded_tables", "tables", "diagrams", "figures", "pictures", "scores",
        "transfer", "reach", "page", "ledger", "reading", "hearing", "audit", "robustness", "explorers", "book",
    ),
}  # fmt: skip
"""By folder, its rooms and files: each uses itself and those before it, never one behind it."""

LAYERS = ("corpora", "systems", "experiments", "reporting", "teaching")

GOLD = (
    "emoser_lib/corpora/corpus.py",
    "emoser_lib/experiments/judging/",
    "emoser_lib/reporting/",
)
"""Where the official test labels may be read: never on a training path."""

ONE_MEANING = ("main",)
"""What every script has."""

NO_VERB = re.compile(
    "(A|All|An|Are|As|At|Both|By|Each|Every|For|From|How|If|In|Is|Its|Mean|Median|Not|Of|On|One|See|Share|Some|That|"
    "The|These|This|To|Two|Until|What|When|Where|Whether|Which|Who|Why|With|Without|.*([^s]s|ing|tion|ed))"
)
"""What no docstring of a function begins with."""

NOT_YET_READ = (
    *("systems/reading", "systems/hearing", "systems/qwen_audio", "systems/fitting", "systems/declared"),
    *("systems/arms", "systems/code_identity", "experiments/training"),
)
"""Rooms and files whose docstrings are still in words of their own."""


def modules(root: Path) -> list[Path]:
    return sorted((root / "emoser_lib").rglob("*.py"))


def code_files(root: Path) -> list[Path]:
    folders = ("emoser_lib", "tests", "scripts", "book", "benchmarks")
    files = (path for folder in folders for path in (root / folder).rglob("*.py"))
    return sorted(path for path in files if "_build" not in path.parts)


def notebooks(root: Path) -> list[Path]:
    return sorted((root / "notebooks").glob("*.ipynb"))


def project_files(root: Path) -> list[Path]:
    """The files that are, or with the next commit will be, in git."""
    if not (root / ".git").exists():
        pytest.skip("needs git to tell the project's files from what was built: run it in a clone")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    return [root / name for name in names if name and (root / name).is_file()]


def code_cells(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def python_of(notebook: Path) -> ast.Module:
    """The notebook's code as one module; magics and shell lines left out."""
    lines = "\n".join(code_cells(notebook)).splitlines()
    return ast.parse("\n".join(line for line in lines if not line.lstrip().startswith(("%", "!"))))


def imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(module, name) of every import from this project; the name is empty for ``import module``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            pairs = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: write emoser_lib.…, no relative import"
            pairs = [(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        yield from (pair for pair in pairs if pair[0].split(".")[0] == "emoser_lib")


def dotted(root: Path, path: Path) -> str:
    """A file's module name; of a package the folder's."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def arrows(root: Path) -> set[tuple[str, str]]:
    """Which module of the library imports which other one, through packages that only hand names on too."""
    names = {dotted(root, path): path for path in modules(root)}
    found = set()
    for name, path in names.items():
        for module, imported in imports(ast.parse(path.read_text())):
            used = f"{module}.{imported}" if f"{module}.{imported}" in names else module
            found.add((name, used))
    return {(one, other) for one, other in found if one != other and other != "emoser_lib"}


def test_imports_go_one_way(root: Path) -> None:
    for one, other in sorted(arrows(root)):
        of, used = one.split(".")[1:], other.split(".")[1:]
        depth = next((i for i, pair in enumerate(zip(of, used, strict=False)) if pair[0] != pair[1]), None)
        order = ORDER.get(".".join(of[:depth]))
        if depth is None or order is None or of[0] == "doctor":
            continue  # a package hands on what lies in it; files of one room may use each other
        assert of[depth] in order and used[depth] in order, f"{one} imports {other}: say in ORDER where both stand"
        assert order.index(used[depth]) < order.index(of[depth]), f"{one} imports {other}, which stands behind it"


def test_the_doctor_works_before_anything_is_installed(root: Path) -> None:
    for module, _ in imports(ast.parse((root / "emoser_lib/doctor.py").read_text())):
        assert module == "emoser_lib", f"doctor imports {module}, which needs packages"


def test_no_file_imports_in_a_circle(root: Path) -> None:
    packages = {dotted(root, path) for path in modules(root) if path.name == "__init__.py"}
    graph = TopologicalSorter({})
    for one, other in arrows(root):
        if one not in packages and other not in packages:
            graph.add(one, other)
    try:
        graph.prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def drawing(root: Path) -> list[str]:
    """What uses what within each layer, as CONTRIBUTING draws it; arrows that follow from others are left out."""
    uses: dict[str, set[str]] = {}
    for one, other in arrows(root):
        of, used = one.split(".")[1:3], other.split(".")[1:3]
        if len(of) == len(used) == 2 and of[0] == used[0] in ORDER and of[1] != used[1]:
            uses.setdefault("/".join(of), set()).add("/".join(used))

    def reached(room: str) -> set[str]:
        return uses.get(room, set()).union(*map(reached, uses.get(room, set())))

    direct = {room: used - set().union(*map(reached, used)) for room, used in uses.items()}
    return sorted(f"    {room} --> {used}" for room, found in direct.items() for used in found)


def test_contributing_draws_the_house_as_it_is(root: Path) -> None:
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawn = [line for line in text.partition("```mermaid")[2].partition("```")[0].splitlines() if "-->" in line]
    lines = "\n".join(drawing(root))
    assert sorted(drawn) == drawing(root), f"the drawing in CONTRIBUTING.md is now:\n{lines}"
    for path in re.findall(r"`((?:emoser_lib|tests|book|notebooks)/[\w./]+\.(?:py|yaml|md))`", text):
        assert (root / path).is_file(), f"CONTRIBUTING.md names {path}, which is not there"


def test_a_public_name_means_one_thing(root: Path) -> None:
    owners: dict[str, set[str]] = {}
    for path in modules(root):
        if "cli" in path.relative_to(root).parts:
            continue  # commands bear the names of what they call
        for node in ast.parse(path.read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            names = {getattr(node, "name", None)} | {getattr(target, "id", None) for target in targets}
            for name in names - {None}:
                if not name.startswith("_"):
                    owners.setdefault(name, set()).add(dotted(root, path))
    twice = {name: sorted(where) for name, where in owners.items() if len(where) > 1 and name not in ONE_MEANING}
    assert not twice, f"one word, one meaning: {twice}"


def test_declaring_and_judging_need_no_torch(root: Path) -> None:
    """Settings are checked, folds cut and submissions scored without torch, which takes seconds to import."""
    rooms = "systems.declared experiments experiments.settings.chapters experiments.runs.runner cli.run cli.corpus"
    code = f"import sys{''.join(f', emoser_lib.{room}' for room in rooms.split())}\n"
    code += "emoser_lib.systems.checkpoints.folders.find_checkpoint('emoser/demo-gemma')\nprint(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "peft"} & set(loaded.stdout.split())


def test_notebooks_and_command_use_public_names_only(root: Path) -> None:
    trees = {path.name: python_of(path) for path in notebooks(root)}
    commands = {path.name: ast.parse(path.read_text()) for path in (root / "emoser_lib/cli").glob("*.py")}
    trees |= commands
    for where, tree in trees.items():
        for module, name in imports(tree):
            parts = [part for part in f"{module}.{name}".split(".") if part != "__version__"]
            assert not any(part.startswith("_") for part in parts), f"{where} imports {module}.{name}"
            if where not in commands and parts[1] in LAYERS:
                assert module.count(".") <= 4, f"{where}: {module} is too far down, hand {name} on"


def test_test_labels_are_read_by_scoring_only(root: Path) -> None:
    for path in modules(root):
        where = str(path.relative_to(root))
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {getattr(node, "attr", getattr(node, "id", "")) for node in nodes}
        if not where.startswith(GOLD):
            assert "gold_labels" not in names, where
            # `held_out` of a corpus has the labels; a training's own `held_out` are clips without any.
            of_others = {n.attr for n in nodes if isinstance(n, ast.Attribute) and ast.unparse(n.value) != "self"}
            assert "held_out" not in of_others or where.startswith("emoser_lib/corpora/"), where
    for path in notebooks(root):
        for cell in code_cells(path):
            assert not ("gold_labels" in cell and ".fit(" in cell), f"{path.name}: a cell that fits reads test labels"


def test_every_code_file_says_what_it_is(root: Path) -> None:
    for path in code_files(root):
        if text := path.read_text().strip():
            assert ast.get_docstring(ast.parse(text)), f"{path.relative_to(root)} has no docstring"


def test_public_names_of_the_library_have_docstrings(root: Path) -> None:
    kinds = (ast.FunctionDef, ast.ClassDef)
    for path in modules(root):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, kinds) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.relative_to(root)}: {node.name} has no docstring"


def read_through(root: Path) -> list[Path]:
    done = (path for path in modules(root) if not str(path.relative_to(root / "emoser_lib")).startswith(NOT_YET_READ))
    return list(done)


def test_docstrings_of_functions_begin_with_a_verb(root: Path) -> None:
    for path in read_through(root):
        tree = ast.parse(path.read_text())
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        for node in [node for owner in (tree, *classes) for node in owner.body if isinstance(node, ast.FunctionDef)]:
            is_value = any("property" in ast.unparse(decorator) for decorator in node.decorator_list)
            if node.name.startswith("_") or is_value or not (told := ast.get_docstring(node)):
                continue
            first = re.split(r"\W", told)[0]
            where = f"{path.relative_to(root)}: {node.name} begins with '{told[:40]}': a verb, such as Return"
            assert first.istitle() and not NO_VERB.fullmatch(first), where


def test_papers_are_called_by_their_names(root: Path) -> None:
    """Chapters and commands have a parameter of this name: ``-p seed 1``."""
    folders = [root / name for name in ("tests", "scripts", "benchmarks", "notebooks", "book")]
    found = (path for folder in folders for path in folder.rglob("*.*") if path.suffix in {".py", ".md", ".ipynb"})
    for path in [*modules(root), *found, root / "README.md", root / "book/claims.yaml"]:
        if "_build" not in path.parts:
            called = re.search(r"(?<!-p )\bseed [12]\b", path.read_text(encoding="utf-8"), re.IGNORECASE)
            assert not called, f"{path.relative_to(root)}: '{called and called[0]}' is THAU-UPM or EmoSLLM"


def test_files_are_named_after_an_idea(root: Path) -> None:
    for path in code_files(root):
        assert "utils" not in path.stem, f"{path.relative_to(root)}: what is the idea?"


def test_notebooks_are_stripped_and_have_one_parameters_cell(root: Path) -> None:
    for path in notebooks(root):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        assert not any(cell["outputs"] or cell["execution_count"] for cell in code), f"{path.name}: `make format`"
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
        assert len(tagged) == 1, f"{path.name} has {len(tagged)} cells tagged parameters"
        assert tagged[0]["cell_type"] == "code"


def test_notebook_cells_are_short(root: Path) -> None:
    for path in notebooks(root):
        for cell in code_cells(path):
            if re.match(r"\w+: \w+(\[\w+\])? = ", cell):
                continue  # the parameters: as many lines as there are parameters
            assert len(cell.splitlines()) <= 15, f"{path.name}: a cell of over 15 lines starts with {cell[:60]!r}"


def test_no_registry_hosts_no_machine_paths(root: Path) -> None:
    registry = r"//[\w.-]*(?:py" + r"pi|pythonhosted|npm" + r"js)\b"
    machine = r"(?<![\w.>-])/(?:ro" + r"ot|wo" + r"rk|home/\w+|Users/\w+)/\w"
    forbidden = re.compile("|".join((registry, machine, re.escape(str(root)) + r"\b")))
    for path in project_files(root):
        if "vendor" in path.parts:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # audio, pictures, fonts
        found = forbidden.search(text)
        assert not found, f"{path.relative_to(root)}: {found and found[0]}"


def test_nothing_large_is_in_git(root: Path) -> None:
    for path in project_files(root):
        largest = 4 if "demo_models" in path.parts else 1.5
        if "vendor" not in path.parts:
            assert path.stat().st_size <= largest * 1_000_000, f"{path.relative_to(root)} is over {largest} MB"
