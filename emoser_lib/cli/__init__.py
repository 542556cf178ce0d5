"""The `emoser` command. Every error is one sentence; exit code 2 for usage, 1 for failure.

Written with click, which papermill brings along: typer cannot express papermill's ``-p NAME VALUE``.
"""

import os
import sys
import warnings
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

import click

import emoser_lib
from emoser_lib.doctor import WINDOWS
from emoser_lib.errors import EmoserError
from emoser_lib.visible import VisibleStream

COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "app": ("app:app", "Open a local page that asks trained systems about a clip."),
        "audit": ("audit:audit", "Say what is to be known about a corpus before its scores are believed."),
        "cache": ("cache:cache", "List or delete the frames that are kept of audio encoders."),
        "checkpoint": ("checkpoints:checkpoint", "Convert checkpoints of audio encoders."),
        "corpus": ("corpus:corpus", "List, describe, check and fetch corpora."),
        "doctor": ("doctor:doctor", "Say what this machine has and lacks, and how to get it."),
        "export": ("predict:export", "Write a trained system into a folder that stands alone."),
        "folds": ("folds:folds", "Print the five folds of a corpus."),
        "grade": ("grade:grade", "Run the checks of students' notebooks again."),
        "ledger": ("ledger:ledger", "Show every claim of the papers, what was measured, and the verdict."),
        "plan": ("plan:plan_runs", "Say what the runs of a profile need, without weights."),
        "predict": ("predict:predict", "Ask a trained system about new clips."),
        "qwen-audio": ("checkpoints:qwen_audio", "Convert Qwen-Audio-Chat, without remote code."),
        "compare": ("runs:compare", "Compare two runs on the clips that both answered."),
        "run": ("run:run_notebook", "Execute a notebook and write its record."),
        "runs": ("runs:list_all", "List runs: score, what they changed, how long they took."),
        "score": ("submission:score", "Score a submission on a corpus's test split."),
        "sweep": ("sweep:sweep", "Train the cells of a grid, a run each, then run its chapter."),
        "transfer": ("transfer:transfer_run", "Score a trained system on a corpus that it did not learn from."),
        "submission": ("submission:submission", "Merge results files of the challenge."),
    }
)
"""Command -> its module and name there, and what the list of commands says of it."""


class Commands(click.Group):
    """A group whose commands are imported when they are called: some need torch, which takes seconds to import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands' names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"emoser_lib.cli.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' one-line descriptions, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, says) for name, (_, says) in sorted(COMMANDS.items())])


def main() -> None:
    """Run the command; turn errors and warnings into one sentence each on standard error."""
    if sys.platform == "win32":
        _fail(f"{WINDOWS}.", 1)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that has no ñ gets \\xf1, not a traceback.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # What files and folders hold is text from strangers, which is not to act on a terminal.
    sys.stdout, sys.stderr = VisibleStream(sys.stdout), VisibleStream(sys.stderr, returns=True)
    warnings.showwarning = _warn  # type: ignore[assignment]
    try:
        code = emoser.main(standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except EmoserError as error:
        _fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        sys.exit(2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "emoser"
        _fail(f"{error.format_message().rstrip('.')}: see `{command} --help`.", 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped.", 130)
    except BrokenPipeError:
        # The reader has seen enough; Python's own flush at the end must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = error.filename or "a file"
        _fail(f"{where} cannot be read or written ({error.strerror or error}): make room or choose another place.", 1)


def _warn(message: Warning | str, *_: object) -> None:
    print(f"emoser: note: {message}", file=sys.stderr)


def _fail(message: str, code: int) -> None:
    # A cell that is quoted may have several lines, and a name thousands of characters.
    said = " ".join(message.splitlines())
    print(f"emoser: {said if len(said) <= 1200 else f'{said[:800]} … {said[-300:]}'}", file=sys.stderr)
    sys.exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(emoser_lib.__version__, prog_name="emoser")
def emoser() -> None:
    """Speech emotion recognition with large language models: corpora, runs, scores."""
