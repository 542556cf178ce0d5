"""The two kinds of error a person can cause. Each is one sentence: what, where, what to do."""


class EmoserError(Exception):
    """Base class of the errors that are shown as one sentence, never as a traceback.

    ``exit_code`` is what the ``emoser`` command ends with.
    """

    exit_code = 1


class UsageError(EmoserError, ValueError):
    """Error in an argument, a name or a parameter (exit code 2)."""

    exit_code = 2


class DataError(EmoserError):
    """Error in the content of a file or folder, or a file that is missing (exit code 1)."""


def did_you_mean(name: str, known: list[str], cutoff: float = 0.6) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest known name, else an empty string.

    Args:
        name: what was written.
        known: what could have been meant.
        cutoff: how alike both must be at least, from 0 to 1 (`difflib.get_close_matches`).

    >>> did_you_mean("emospech", ["demo", "emospeech"])
    " (did you mean 'emospeech'?)"
    >>> did_you_mean("zzz", ["demo"])
    ''
    """
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return f" (did you mean '{near[0]}'?)" if near else ""
