"""What a module does, as a text that its comments and docstrings do not change: part of the key of what is kept."""

import ast
import inspect
from functools import cache
from types import ModuleType


@cache
def without_comments(module: ModuleType) -> str:
    """A module's code as its syntax tree, without comments and docstrings.

    >>> import emoser_lib.systems.code_identity as code
    >>> "ast" in without_comments(code), "docstrings do not change" in without_comments(code)
    (True, False)
    """
    return stripped(inspect.getsource(module))


def stripped(source: str) -> str:
    """The same of a source text.

    >>> stripped("x = 1  # one") == stripped("'''What it is.'''\\nx = 1")
    True
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):  # a docstring is an expression that is only a text
            node.body = [  # type: ignore[attr-defined]
                line for line in body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
            ]
    return ast.dump(tree)
