"""Side by side with what a user would pick instead: `make bench`.

Each contender trains in a process of its own (`worker.py`), one step at a time and in turn, so that only one of them
computes at any moment and a machine whose speed drifts is the same for all. What a stopped run has finished is not
measured again.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS, OURS
from benchmarks.phases import Phase, phases
from benchmarks.report import result, summary
from benchmarks.workload import Workload, prepare
from emoser_lib.corpora import cache_home
from emoser_lib.environment import ROOT
from emoser_lib.errors import DataError, EmoserError
from emoser_lib.files import write_whole
from emoser_lib.source import code_sha256, file_of, modules_behind

PYTHONS = {"project": Path(sys.executable), "benchmark": ROOT / ".venv-bench/bin/python"}
TOLERANCE = 1e-4
"""By what share of itself the loss of two contenders may differ at the same step; by how much where it is below 1.

Rounding in float32 alone moves a loss of 15 by 1.6e-4: an absolute bound would measure the first loss of a model."""


class Worker:
    """A contender's process and the line to it."""

    def __init__(self, name: str, log: Path) -> None:
        self.name, self.log = name, log
        command = [PYTHONS[CONTENDERS[name].environment], "-m", "benchmarks.worker", name]
        with log.open("a") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT
            )

    @cached_property
    def about(self) -> dict[str, Any]:
        """Versions and threads: the first thing it says, when it has imported its libraries."""
        return self.hear()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise DataError(f"{CONTENDERS[self.name].title} ended before its time: {self.log} says why.")
        return json.loads(line)

    def do(self, what: str, **given: Any) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"do": what, **given}) + "\n")
        self.process.stdin.flush()
        return self.hear()

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


@contextmanager
def workers(log: Path) -> Iterator[dict[str, Worker]]:
    """The processes by contender, started where they are first asked for."""
    with ExitStack() as stack:

        class Started(dict[str, Worker]):
            def __missing__(self, name: str) -> Worker:
                self[name] = Worker(name, log)
                stack.callback(self[name].close)
                return self[name]

        yield Started()


def measure(phase: Phase, work: Workload, scratch: Path, started: dict[str, Worker]) -> dict[str, Any]:
    """All steps of one phase, contenders in turn; who is first changes from step to step."""
    clips = [asdict(clip) for step in phase.steps for clip in step.clips]
    training = {
        "model": str(work.model),
        "adapter": str(work.adapter),
        "scratch": str(scratch),
        "prefix": work.prefix,
        "clips": clips,
        "batch_size": phase.batch_size,
        "max_length": work.max_length,
    }
    about = {worker.name: worker.about for worker in [started[name] for name in phase.contenders]}
    for name in phase.contenders:
        started[name].do("train", work=training)
    steps: dict[str, list[dict[str, Any]]] = {name: [] for name in phase.contenders}
    rates = []
    for number, step in enumerate(phase.steps):
        rates.append(started[OURS].do("rate")["gflops"])
        first = number % len(phase.contenders)
        for name in [*phase.contenders[first:], *phase.contenders[:first]]:
            answer = started[name].do("step" if step.look == "warm-up" else step.look)
            steps[name].append({"look": step.look, "note": step.note, **answer})
        check_losses(phase, number, {name: done[-1]["loss"] for name, done in steps.items()})
        print(f"{phase.name} {number + 1}/{len(phase.steps)}: " + took(steps), flush=True)
    for name in phase.contenders:
        started[name].do("end")
    tokens = [[len(clip.ids) for clip in step.clips] for step in phase.steps]
    return {"batch_size": phase.batch_size, "tokens": tokens, "gflops": rates, "about": about, "steps": steps}


def took(steps: dict[str, list[dict[str, Any]]]) -> str:
    return ", ".join(f"{name} {done[-1]['seconds']:.2f} s" for name, done in steps.items())


def check_losses(phase: Phase, step: int, losses: dict[str, float]) -> None:
    """Raises DataError where the contenders do not train the same."""
    for name, loss in losses.items():
        if not abs(loss - losses[OURS]) <= TOLERANCE * max(1.0, abs(losses[OURS])):
            raise DataError(
                f"phase {phase.name}, step {step + 1}: the loss of {CONTENDERS[name].title} is {loss:.6f}, ours is "
                f"{losses[OURS]:.6f}: times of different trainings cannot be compared."
            )


def scoring(work: Workload, scratch: Path, quick: bool) -> dict[str, Any]:
    """Label scoring against `generate`, in one process."""
    given = scratch / "scoring.json"
    clips = [clip.ids for clip in work.clips]
    given.write_text(json.dumps({"model": str(work.model), "prefix": work.prefix, "clips": clips, "words": work.words}))
    command = [PYTHONS["project"], "-m", "benchmarks.scoring", given, "1" if quick else "3"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return json.loads(done.stdout)


def kept(home: Path, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a stopped run has measured already under this name, or measure it and keep it."""
    path = home / f"{name}.json"
    if not path.is_file():
        print(f"{name} …", flush=True)
        write_whole(path, json.dumps(measure()))
    return json.loads(path.read_text())


def fingerprint(*also: object, root: Path = ROOT) -> str:
    """Return a hash of the code and versions that decide what is measured: a change starts the measurement again.

    The code is that of this folder and of all that it imports from the library, apart from comments and docstrings;
    without the report, which only tells.
    """
    names = [f"benchmarks.{path.stem}" for path in (root / "benchmarks").glob("*.py")]
    behind = [name for name in modules_behind(names, root) if name != "benchmarks.report"]
    code = code_sha256(file for name in behind if (file := file_of(name, root)))
    pins = [path.read_text() for path in (root / "constraints.txt", root / "benchmarks/constraints.txt")]
    return hashlib.sha256(repr((also, code, pins)).encode()).hexdigest()[:12]


def run(quick: bool, out: Path | None) -> Path:
    """Measure what is not measured yet, and write the result whole."""
    home = cache_home() / "benchmarks"
    work = prepare(home / fingerprint(quick), quick)
    scratch = home / fingerprint(quick, work)
    scratch.mkdir(parents=True, exist_ok=True)
    print(f"{work.name} on {work.corpus}, in {scratch}", flush=True)
    measured: dict[str, Any] = {}
    with workers(scratch / "log.txt") as started:
        for phase in phases(work, quick):
            measured[phase.name] = kept(scratch, phase.name, partial(measure, phase, work, scratch, started))
    final = result(work, measured, kept(scratch, "scored", partial(scoring, work, scratch, quick)))
    target = out or (scratch if quick else ROOT / "book/benchmark") / f"{work.name.rpartition('/')[2]}.json"
    write_whole(target, json.dumps(final, indent=1, ensure_ascii=False) + "\n")
    print(summary(final))
    return target


def command(description: str, measure_all: Callable[[bool, Path | None], Path]) -> None:
    """The command line of a benchmark: ``--quick`` and ``--out``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a tiny model and little work: does it all run?")
    parser.add_argument("--out", type=Path, help="where the result goes; default: the book, for --quick the cache")
    given = parser.parse_args()
    try:
        print(f"Written to {measure_all(given.quick, given.out)}")
    except EmoserError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    command("Measure one LoRA training step and one epoch, side by side.", run)
