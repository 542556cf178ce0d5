"""Which public names of the library a chapter's code uses, read from the code alone: nothing is imported or run.

A name is followed as far as that is certain. Imports always are; a variable is where every assignment to it in the
notebook gives the same class, by a constructor's name or a function's annotation. Other values are left.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from emoser_lib.environment import ROOT
from emoser_lib.errors import DataError, did_you_mean

PACKAGE = "emoser_lib"

BINDING = (ast.FunctionDef, ast.ClassDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)
"""Statements that give a value to a name of their own."""


@dataclass(frozen=True)
class Module:
    """A module or package of the library, by its dotted name."""

    name: str


@dataclass(frozen=True)
class Defined:
    """A function, class, constant or method, by the place of its definition.

    Attributes:
        module: dotted name.
        name: in it, such as ``Corpus`` or ``Corpus.training``.
        node: the statement that defines it.
    """

    module: str
    name: str
    node: ast.stmt = field(compare=False, repr=False)

    @property
    def is_property(self) -> bool:
        """Whether it is read like a value: what counts is then what it returns."""
        decorators = getattr(self.node, "decorator_list", [])
        return any(ast.unparse(decorator) in ("property", "cached_property") for decorator in decorators)


@dataclass(frozen=True)
class Instance:
    """A value of which only its class is known."""

    of: Defined


Known = Module | Defined | Instance


class Library:
    """The library's source.

    Args:
        root: the folder that holds the package.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self._trees: dict[str, ast.Module | None] = {}

    def tree(self, module: str) -> ast.Module | None:
        """Parse a module's source; ``None`` where there is no such module in the library."""
        if module not in self._trees:
            path = self.root.joinpath(*module.split("."))
            file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            inside = module.split(".")[0] == PACKAGE and file.is_file()
            self._trees[module] = ast.parse(file.read_text(encoding="utf-8")) if inside else None
        return self._trees[module]

    def find(self, module: str, name: str) -> Module | Defined | None:
        """Find what a name of a module is, through imports; ``None`` where it comes from outside the library.

        Raises:
            DataError: the module, or the name in it, does not exist.
        """
        tree = self.tree(module)
        if tree is None:
            raise DataError(f"there is no module '{module}': correct the import.")
        known = self._names(module)
        if isinstance(origin := known.get(name), ast.ImportFrom) and origin.module:
            alias = next(alias for alias in origin.names if (alias.asname or alias.name) == name)
            return self.find(origin.module, alias.name) if self._ours(origin.module) else None
        if origin is not None:
            return None if isinstance(origin, ast.Import) else Defined(module, name, origin)
        if self.tree(f"{module}.{name}") is not None:
            return Module(f"{module}.{name}")
        hint = did_you_mean(name, [*known])
        raise DataError(f"there is no '{name}' in {module}{hint}: correct the name.")

    def member(self, owner: Defined, name: str) -> Defined | None:
        """Find a public method or property of a class or of a base of it in the library."""
        if not isinstance(owner.node, ast.ClassDef) or name.startswith("_"):
            return None
        for node in owner.node.body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return Defined(owner.module, f"{owner.name}.{name}", node)
        bases = (self.class_named(owner.module, base) for base in owner.node.bases)
        return next((found for base in bases if base and (found := self.member(base, name))), None)

    def class_named(self, module: str, written: ast.expr | None) -> Defined | None:
        """Find the library's class that an annotation or a base in a module names."""
        if isinstance(written, ast.Constant) and isinstance(written.value, str):
            written = ast.parse(written.value, mode="eval").body
        if not isinstance(written, ast.Name) or written.id not in self._names(module):
            return None
        found = self.find(module, written.id)
        return found if isinstance(found, Defined) and isinstance(found.node, ast.ClassDef) else None

    def result(self, function: Defined, of: Defined | None = None) -> Instance | None:
        """Find what a function returns by its annotation; ``of`` is the class that a method is called on."""
        assert isinstance(function.node, ast.FunctionDef)
        written = function.node.returns
        own = isinstance(written, ast.Name) and written.id == "Self"
        found = of if own else self.class_named(function.module, written)
        return Instance(found) if found else None

    def public_name(self, found: Defined) -> str:
        """Return the dotted name to import it by: of the package that hands it on, or else of its module."""
        top = found.name.split(".")[0]
        parts = found.module.split(".")
        for package in (".".join(parts[:n]) for n in range(2, len(parts))):
            if top in self.handed_on(package):
                return f"{package}.{found.name}"
        return f"{found.module}.{found.name}"

    def handed_on(self, package: str) -> tuple[str, ...]:
        """List what a package has in ``__all__``; nothing if it has none."""
        tree = self.tree(package)
        for node in tree.body if tree else []:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                return tuple(ast.literal_eval(node.value))
        return ()

    def packages(self) -> list[str]:
        """List all packages with an ``__all__``, by name."""
        files = sorted((self.root / PACKAGE).rglob("__init__.py"))
        names = [".".join(file.parent.relative_to(self.root).parts) for file in files]
        return [name for name in names if self.handed_on(name)]

    def _names(self, module: str) -> dict[str, ast.stmt]:
        tree = self.tree(module)
        return dict(pair for statement in _flat(tree.body if tree else []) for pair in _bound(statement))

    @staticmethod
    def _ours(module: str | None) -> bool:
        return (module or "").split(".")[0] == PACKAGE


class Chapter:
    """The code of one notebook.

    Args:
        cells: source of its code cells; magics and shell lines are allowed.
        library: what its imports mean.

    Attributes:
        trees: of the cells.
        known: variables and imported names, and what they are.
        uses: for each cell what it uses of the library, each once, in order.

    Raises:
        DataError: it imports or names something that the library does not have.
    """

    def __init__(self, cells: Sequence[str], library: Library) -> None:
        transform = TransformerManager().transform_cell
        self.library = library
        self.trees = [ast.parse(transform(cell)) for cell in cells]
        self.known: dict[str, Known] = {}
        bound = self._bindings()
        before = -1
        while len(self.known) > before:  # what one variable is may say what the next one is
            before = len(self.known)
            for name, values in bound.items():
                found = {self._value(value) if isinstance(value, ast.expr) else value for value in values}
                if len(found) == 1 and (only := found.pop()) is not None:
                    self.known[name] = only
        self.uses = [list(dict.fromkeys(self._used(tree))) for tree in self.trees]

    def _used(self, node: ast.AST) -> Iterator[Defined]:
        found = self._named(node) if isinstance(node, ast.Name | ast.Attribute) else None
        if isinstance(found, Defined):
            yield found
        for child in ast.iter_child_nodes(node):
            yield from self._used(child)

    def _bindings(self) -> Mapping[str, list[Known | ast.expr | None]]:
        """Every assignment to every name: what is imported, the expression, or ``None`` where neither is said."""
        bound: defaultdict[str, list[Known | ast.expr | None]] = defaultdict(list)
        said: set[ast.Name] = set()
        for node in (node for tree in self.trees for node in ast.walk(tree)):  # parents come before their children
            if isinstance(node, ast.Import | ast.ImportFrom):
                for name, value in self._imported(node):
                    bound[name].append(value)
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                said.add(node.targets[0])
                bound[node.targets[0].id].append(node.value)
            elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load) and node not in said:
                bound[node.id].append(None)
            elif isinstance(node, ast.arg):
                bound[node.arg].append(None)
            elif isinstance(node, BINDING) and node.name:
                bound[node.name].append(None)
        return bound

    def _imported(self, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Known | None]]:
        for alias in node.names:
            name = alias.asname or alias.name.split(".")[0]
            if isinstance(node, ast.Import):
                ours = alias.name.split(".")[0] == PACKAGE
                if ours and self.library.tree(alias.name) is None:
                    raise DataError(f"there is no module '{alias.name}': correct the import.")
                yield name, Module(alias.name if alias.asname else PACKAGE) if ours else None
            else:
                ours = (node.module or "").split(".")[0] == PACKAGE
                yield name, self.library.find(node.module or "", alias.name) if ours else None

    def _named(self, node: ast.Name | ast.Attribute) -> Known | None:
        """What a name or an attribute stands for, a method itself and not what it returns."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id) if isinstance(node.ctx, ast.Load) else None
        owner = self._value(node.value)
        if isinstance(owner, Module):
            return self.library.find(owner.name, node.attr)
        owner = owner.of if isinstance(owner, Instance) else owner
        return self.library.member(owner, node.attr) if owner else None

    def _value(self, node: ast.expr) -> Known | None:
        if isinstance(node, ast.Call):
            function = self._named(node.func) if isinstance(node.func, ast.Name | ast.Attribute) else None
            if not isinstance(function, Defined):
                return None
            if isinstance(function.node, ast.ClassDef):
                return Instance(function)
            return self._result(function, node.func) if isinstance(function.node, ast.FunctionDef) else None
        if not isinstance(node, ast.Name | ast.Attribute):
            return None
        found = self._named(node)
        return self._result(found, node) if isinstance(found, Defined) and found.is_property else found

    def _result(self, function: Defined, called: ast.expr) -> Instance | None:
        owner = self._value(called.value) if isinstance(called, ast.Attribute) else None
        of = owner.of if isinstance(owner, Instance) else owner
        return self.library.result(function, of if isinstance(of, Defined) else None)


def _flat(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """A module's statements, those below ``if TYPE_CHECKING`` too."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If):
            yield from _flat(statement.body)


def _bound(statement: ast.stmt) -> Iterator[tuple[str, ast.stmt]]:
    """The names that a statement of a module binds."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name, statement
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name, statement) for alias in statement.names)
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from ((target.id, statement) for target in targets if isinstance(target, ast.Name))
