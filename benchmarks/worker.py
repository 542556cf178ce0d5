"""One contender in a process of its own: it trains step by step, each when the driver says so.

    python -m benchmarks.worker CONTENDER

Lines of JSON come in on standard input and go out on standard output: ``{"do": "train", "work": {…}}`` builds a
trainer and answers when it stands before its first step; ``{"do": "step"}``, ``"count"`` (the step's FLOPs) and
``"memory"`` (what it allocates) let it do one step; ``"rate"`` measures the machine; ``"end"`` after the last step lets
the trainer finish.
"""

import contextlib
import gc
import json
import os
import resource
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from benchmarks.contenders import CONTENDERS, Clip, Work


def attention_flops(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **options: Any) -> int:
    """Of attention, in the way torch counts it on GPUs; its counter knows no attention on CPUs."""
    return sdpa_flop_count(query, key, value)


def attention_backward_flops(
    gradient: torch.Size, query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **options: Any
) -> int:
    """Of its backward pass, in the same way."""
    return sdpa_backward_flop_count(gradient, query, key, value)


ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward_flops,
}


class Line:
    """The two ends of the conversation with the driver."""

    def __init__(self, answers: IO[str]) -> None:
        self.answers = answers

    def ask(self) -> dict[str, Any]:
        """The next command; ends the process where the driver has gone."""
        line = sys.stdin.readline()
        if not line:
            sys.exit()
        return json.loads(line)

    def say(self, **answer: Any) -> None:
        print(json.dumps(answer), file=self.answers, flush=True)


class Baton(TrainerCallback):
    """Stops the training after each step until the driver says go on. A step is all from there to its end:
    collating, forward, backward, clipping, the optimizer, the log."""

    def __init__(self, line: Line, trainer: Trainer) -> None:
        self.line, self.loss = line, 0.0
        self.measuring = contextlib.ExitStack()
        self.measured: dict[str, Any] = {}
        self.inner = trainer.training_step
        trainer.training_step = self.training_step
        trainer.add_callback(self)

    def training_step(self, *args: Any, **options: Any) -> torch.Tensor:
        """The trainer's own step; its loss is kept, as the log rounds it."""
        loss = self.inner(*args, **options)
        self.loss = loss.item()
        return loss

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        self.line.say(ready=True)
        self.wait()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        seconds = time.perf_counter() - self.start
        self.measuring.close()
        self.line.say(seconds=seconds, loss=self.loss, rss_mb=high_water_mb(), **self.measured)
        self.wait()

    def wait(self) -> None:
        self.measured = {}
        while (command := self.line.ask()["do"]) == "rate":
            self.line.say(gflops=matmul_rate())
        gc.collect()
        if command == "count":
            counter = self.measuring.enter_context(FlopCounterMode(display=False, custom_mapping=ATTENTION))
            self.measuring.callback(lambda: self.measured.update(gflop=counter.get_total_flops() / 1e9))
        elif command == "memory":
            profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True)
            self.measuring.callback(lambda: self.measured.update(peak_mb=peak_mb(profiler)))
            self.measuring.enter_context(profiler)
        self.start = time.perf_counter()


def peak_mb(profiler: torch.profiler.profile) -> float:
    """The most that a step's tensors took at once, beyond what was there before it."""
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak / 2**20


def high_water_mb() -> float:
    """The most memory this process ever had, everything included."""
    status = Path("/proc/self/status")
    if status.is_file():  # what getrusage says of a child on Linux begins with the most that its parent ever had
        [line] = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def matmul_rate(size: int = 2048, repeats: int = 3) -> float:
    """GFLOP a second of a square fp32 matrix product; the best of a few."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds) / 1e9


def read_work(given: dict[str, Any]) -> Work:
    paths = {name: Path(given[name]) for name in ("model", "adapter", "scratch")}
    return Work(**{**given, **paths, "clips": [Clip(**clip) for clip in given["clips"]]})


def main(name: str) -> None:
    contender = CONTENDERS[name]
    line = Line(os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)  # what the libraries print must not come between the answers
    versions = {package: metadata.version(package) for package in ("torch", *contender.packages)}
    line.say(versions=versions, threads=torch.get_num_threads())
    while True:
        command = line.ask()
        trainer = contender.build(read_work(command["work"]))
        Baton(line, trainer)
        trainer.train()
        del trainer
        gc.collect()
        line.say(ended=True)


if __name__ == "__main__":
    main(sys.argv[1])
