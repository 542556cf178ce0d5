"""What grows with the number of clips, and how fast: processor seconds and memory of eight pieces of work.

    make bench-growth                  ten minutes
    make bench-growth ARGS=--quick     a hundred and a thousand clips: does it all run?

Each is measured in a process of its own, on one thread, in processor seconds, so that other work beside it counts
little. What a stopped run has finished is not measured again.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.growth_work import SECONDS, SENTENCES, STEPS, WORKS, ledger
from benchmarks.run import command, fingerprint, kept
from emoser_lib.corpora import cache_home
from emoser_lib.environment import ROOT, commit, hardware, now
from emoser_lib.files import write_whole

CLIPS = (100, 1_000, 10_000, 100_000)
MOST_RECORDS = 10_000
"""Of the ledger, whose size is its records: a hundred thousand would fill the disk and no book has them."""
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}


def once(work: str, clips: int) -> dict[str, float]:
    """Measure one piece of work on so many clips."""
    with tempfile.TemporaryDirectory() as folder:
        told = [sys.executable, "-W", "ignore", "-m", "benchmarks.growth_work", work, str(clips), folder]
        done = subprocess.run(
            told, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT, env=os.environ | ONE_THREAD
        )
    return json.loads(done.stdout)


def run(quick: bool, out: Path | None) -> Path:
    """Measure what is not measured yet, and write the result whole."""
    sizes = CLIPS[:2] if quick else CLIPS
    home = cache_home() / "benchmarks" / f"growth-{fingerprint()}"
    home.mkdir(parents=True, exist_ok=True)
    works: dict[str, Any] = {
        work: {
            str(clips): kept(home, f"{work}-{clips}", lambda w=work, n=clips: once(w, n))
            for clips in sizes
            if work != ledger.__name__ or clips <= MOST_RECORDS
        }
        for work in WORKS
    }
    found = {
        "works": works,
        "sentences": SENTENCES,
        "seconds_a_clip": SECONDS,
        "steps": STEPS,
        "hardware": hardware(),
        "date": now(),
        "commit": commit(),
    }
    target = out or (home if quick else ROOT / "book/benchmark/growth") / "result.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return target


if __name__ == "__main__":
    command("Measure what grows with the number of clips.", run)
