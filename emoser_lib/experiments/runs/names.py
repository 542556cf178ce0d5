"""Names of chapters, profiles, runs and keys: they become folders, files, links and arguments, so few characters are
allowed in them."""

from typing import Annotated

from pydantic import StringConstraints, TypeAdapter, ValidationError

from emoser_lib.errors import UsageError

RunName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=80)]
"""A name that is itself wherever it is written: no path, no option, nothing for a shell, a page or a link to act on."""

_NAME = TypeAdapter(RunName)


def checked_name(name: object, what: str) -> str:
    """Return a name if it may be one.

    Args:
        name: to be looked at.
        what: it is the name of, for the error.

    Raises:
        UsageError: it has other characters than letters without accents, digits, ``_``, ``.`` and ``-``, begins with
            one of the last two, or is empty or longer than 80.

    >>> checked_name("two words", "run")
    Traceback (most recent call last):
    emoser_lib.errors.UsageError: the run 'two words' has a name that ...
    """
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        raise UsageError(
            f"the {what} {str(name)[:100]!r} has a name that cannot be a folder's and a link's everywhere: use up to "
            "80 of A-Z, a-z, 0-9, '_', '.' and '-', the first of them no '.' or '-'."
        ) from None
