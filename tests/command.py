"""The command as a function: what it says and its exit code, without a new Python that takes seconds to import."""

import io
import os
import sys
import warnings
from subprocess import CompletedProcess
from unittest import mock

from emoser_lib.cli import main

HIDDEN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
"""What Python itself does not show."""


def emoser(*arguments: str, encoding: str = "utf-8", **environment: str) -> "CompletedProcess[str]":
    """Call the real command, on streams of this encoding."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
    command = ["emoser", *arguments]
    with (
        mock.patch.multiple(sys, argv=command, stdout=out, stderr=err),
        mock.patch.dict(os.environ, environment),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")
        for category in HIDDEN:
            warnings.simplefilter("ignore", category)
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    said = []
    for stream in (out, err):
        stream.flush()
        said.append(stream.buffer.getvalue().decode(encoding))  # type: ignore[attr-defined]
    return CompletedProcess(command, code, *said)
