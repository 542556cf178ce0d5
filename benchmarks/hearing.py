"""Projector training with frames kept, beside the released way, which runs encoder and whole prompt at each step.

    make bench-hearing            about an hour of two quiet cores
    make bench-hearing ARGS=--quick    a tiny model and few clips: does it all run?

Both take the same clips in turn, each step from the same projector; their losses and gradients are held together.
What a stopped run has finished is not measured again.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from sklearn.metrics import f1_score, recall_score
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.run import command, fingerprint, kept
from benchmarks.worker import ATTENTION, matmul_rate
from emoser_lib.corpora import Corpus, cache_home, data_home, load_corpus
from emoser_lib.environment import ROOT, commit, hardware, now
from emoser_lib.errors import DataError
from emoser_lib.experiments import Fold, folds
from emoser_lib.experiments.training.folds import fewer_clips
from emoser_lib.files import write_whole
from emoser_lib.systems.checkpoints.catalogue import DEMO
from emoser_lib.systems.declared import AudioSystem, Linear, Loss, Training
from emoser_lib.systems.hearing.assembly import assembled
from emoser_lib.systems.hearing.audio_task import AudioExamples, AudioTask, audio_examples
from emoser_lib.systems.hearing.encoders.encoder import Encoder, Frames
from emoser_lib.systems.hearing.encoders.loading import load_encoder
from emoser_lib.systems.hearing.encoding import hear
from emoser_lib.systems.prompts.text import AUDIO
from emoser_lib.systems.reading.llm import LLM, load_llm

BATCH, RATE = 4, 1e-3
TOLERANCE = 1e-4
"""By what share of itself the two losses may differ at a step; by how much where it is below 1."""
GRADIENT = 1e-3
"""By what share of its norm the two gradients may differ at a step."""
TARGET = 5.0
SYSTEM = AudioSystem(
    bridge=Linear(), scaled=False, loss=Loss("none", "clips"), training=Training(batch_size=BATCH, learning_rate=RATE)
)


@dataclass(frozen=True)
class Scale:
    """How much is measured: ``clips`` to train on, ``held`` to score, ``many`` for memory."""

    llm: str
    encoder: str
    corpus: str
    clips: int
    held: int
    many: int
    epochs: int


FULL = Scale("google/gemma-3-270m", "openai/whisper-base", "elicited_es", 200, 100, 2000, 1)
QUICK = Scale(DEMO, "emoser/demo-whisper", "demo", 16, 6, 32, 1)


@dataclass
class Bench:
    """The parts, loaded, and the clips."""

    scale: Scale
    home: Path

    @cached_property
    def llm(self) -> LLM:
        return load_llm(self.scale.llm, device="cpu")

    @cached_property
    def encoder(self) -> Encoder:
        return load_encoder(self.scale.encoder, device="cpu", context="window")

    @cached_property
    def corpus(self) -> Corpus:
        return load_corpus(self.scale.corpus)

    @cached_property
    def cut(self) -> Fold:
        scheme = "speaker" if self.scale.corpus == FULL.corpus else "paper"
        cut = fewer_clips(self.corpus, folds(self.corpus, scheme)[0], self.scale.clips)
        drawn = np.random.default_rng(0).permutation(len(cut.validation))[: self.scale.held]
        return replace(cut, validation=tuple(cut.validation[i] for i in sorted(drawn)))

    @contextmanager
    def task(self, system: AudioSystem, features: Any = None) -> Iterator[AudioTask]:
        """Ours, at its start; with other features than the cache's, if given."""
        hearing = hear(self.encoder, system, self.corpus, [*self.cut.train, *self.cut.validation], self.home)
        learnt, held, verbaliser, _ = audio_examples(self.llm, system, hearing, self.cut.train, self.cut.validation)
        weights = [1.0] * len(verbaliser.labels)
        with assembled(self.llm, system, self.encoder) as model:
            yield AudioTask(model, verbaliser.ids, system.loss, weights, learnt, held, features or hearing.features)


class Released:
    """The released way: at each step the encoder, the whole prompts as padded rows, and logits at every position.

    The encoder hears Whisper's window of thirty seconds, as in chapter 8's run on real speech; a clip's own frames are
    read.
    """

    def __init__(self, bench: Bench, task: AudioTask) -> None:
        self.llm, self.encoder, self.corpus = bench.llm.model, bench.encoder, bench.corpus
        self.projector = nn.Linear(bench.encoder.width, self.llm.config.get_text_config().hidden_size)
        self.projector.load_state_dict(task.model.joined.bridge.linear.state_dict())  # type: ignore[union-attr]
        self.learnt: AudioExamples = task.learnt
        self.words = torch.tensor([word[0] for word in task.words])
        if any(len(word) != 1 for word in task.words):
            raise DataError("A label's word has several pieces: the released way reads one logit a label.")

    def loss(self, clips: Sequence[int]) -> Tensor:
        with torch.no_grad():
            frames = self.encoder([self.corpus.waveform(self.learnt.sounds[clip]) for clip in clips])
        rows = [self._row(clip, frames.of(i)[0]) for i, clip in enumerate(clips)]
        lengths = torch.tensor([len(row) for row in rows])
        mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
        logits = self.llm(
            inputs_embeds=pad_sequence(rows, batch_first=True), attention_mask=mask, use_cache=False
        ).logits
        last = logits[torch.arange(len(rows)), lengths - 1][:, self.words]
        return cross_entropy(last, torch.tensor([self.learnt.labels[clip] for clip in clips]))

    def _row(self, clip: int, frames: Tensor) -> Tensor:
        rest = list(self.learnt.rests[clip])
        place, embed = rest.index(AUDIO), self.llm.get_input_embeddings()
        before, after = torch.tensor([*self.learnt.prefix, *rest[:place]]), torch.tensor(rest[place + 1 :])
        return torch.cat([embed(before), self.projector(frames), embed(after)])


def ours(task: AudioTask, clips: Sequence[int]) -> Tensor:
    batch = task.batch(clips)
    return task.loss(batch, task.items(batch))


def step(loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer) -> tuple[float, float]:
    """Seconds and loss of one whole step."""
    start = time.perf_counter()
    value = loss()
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return time.perf_counter() - start, value.item()


def counted(work: Callable[[], Any]) -> float:
    """GFLOP of a piece of work."""
    with FlopCounterMode(display=False, custom_mapping=ATTENTION) as counter:
        work()
    return counter.get_total_flops() / 1e9


def batches(clips: int, seed: int) -> list[list[int]]:
    order = np.random.default_rng(seed).permutation(clips).tolist()
    return [order[start : start + BATCH] for start in range(0, clips, BATCH)]


def in_turn(
    ways: dict[str, Callable[[Sequence[int]], Tensor]],
    optimizers: dict[str, torch.optim.Optimizer],
    order: Sequence[Sequence[int]],
    together: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Each way's seconds and losses, step by step, and the machine's rate before each; the first way is ours.

    Args:
        together: what is done after each turn to hold the ways together.

    Raises:
        DataError: the losses are not the same, so neither is the training.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    losses: dict[str, list[float]] = {name: [] for name in ways}
    rates = []
    for number, clips in enumerate(order):
        rates.append(matmul_rate())
        for name in list(ways)[:: 1 if number % 2 else -1]:
            spent, loss = step(lambda way=ways[name], clips=clips: way(clips), optimizers[name])
            seconds[name].append(spent)
            losses[name].append(loss)
        now = [of[-1] for of in losses.values()]
        if any(abs(loss - now[0]) > TOLERANCE * max(1.0, abs(now[0])) for loss in now):
            told = " and ".join(f"{loss:.6f}" for loss in now)
            raise DataError(f"step {number + 1}: the losses are {told}, not the same training.")
        together()
        print(f"step {number + 1}/{len(order)}: {', '.join(f'{of[-1]:.2f} s' for of in seconds.values())}", flush=True)
    return {"seconds": seconds, "losses": losses, "rates": rates}


@dataclass
class HeldTogether:
    """The other layer takes our weights after each step.

    Adam's first steps are as long for a gradient of nothing as for a large one, so rounding alone would move two equal
    trainings apart. From equal weights, loss and gradient say whether a step is the same.
    """

    mine: nn.Linear
    other: nn.Linear
    differences: list[float] = field(default_factory=list)

    def __call__(self) -> None:
        ours, theirs = self.mine.weight.grad, self.other.weight.grad
        assert ours is not None and theirs is not None
        difference = float((ours - theirs).norm() / theirs.norm())
        if not difference <= GRADIENT:
            raise DataError(f"the gradients differ by {difference:.1e} of their norm, not the same training.")
        self.differences.append(difference)
        self.other.load_state_dict(self.mine.state_dict())


def side_by_side(bench: Bench) -> dict[str, Any]:
    """One epoch in turn: seconds and losses of each step, GFLOP of the first, and what encoding costs."""
    start = time.perf_counter()
    with bench.task(SYSTEM) as task:
        encoding = time.perf_counter() - start
        released = Released(bench, task)
        ways: dict[str, Callable[[Sequence[int]], Tensor]] = {
            "kept": lambda clips: ours(task, clips),
            "released": released.loss,
        }
        layers = {"kept": task.model.joined.bridge.linear, "released": released.projector}
        optimizers = {name: torch.optim.Adam(of.parameters(), lr=RATE) for name, of in layers.items()}
        together = HeldTogether(layers["kept"], layers["released"])
        order = batches(bench.scale.clips, seed=0)
        gflop = {name: counted(lambda way=way: way(order[0]).backward()) for name, way in ways.items()}
        waveforms = [bench.corpus.waveform(task.learnt.sounds[clip]) for clip in order[0]]
        gflop["encoder"] = counted(lambda: bench.encoder.encode(waveforms))
        measured = in_turn(ways, optimizers, order, together)
    return {"encoding": encoding, "gflop": gflop, "gradients": together.differences, **measured}


class Whole:
    """All frames of Whisper's window, 30 s of them, whatever the clip's length; as released code pads."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.frames: dict[str, Tensor] = {}

    def batch(self, keys: Sequence[str]) -> Frames:
        return Frames(
            torch.stack([self._of(key) for key in keys]), torch.full((len(keys),), self._of(keys[0]).shape[1])
        )

    @torch.no_grad()
    def _of(self, key: str) -> Tensor:
        if key not in self.frames:
            encoder: Any = self.bench.encoder
            waveform = self.bench.corpus.waveform(key)
            mel = encoder.extractor(waveform, sampling_rate=16_000, return_tensors="pt")["input_features"]
            self.frames[key] = encoder.model(mel).last_hidden_state
        return self.frames[key]


def row(bench: Bench, stack: int, whole: bool) -> dict[str, Any]:
    """One way to hand over the audio: what a step costs, and what the system is worth after its epochs."""
    system = replace(SYSTEM, bridge=Linear(stack=stack))
    with bench.task(system, Whole(bench) if whole else None) as task:
        optimizer = torch.optim.Adam(task.model.joined.parameters(), lr=RATE)
        gflop = counted(lambda: ours(task, batches(bench.scale.clips, 0)[0]).backward())
        seconds = []
        for epoch in range(bench.scale.epochs):
            for clips in batches(bench.scale.clips, epoch):
                seconds.append(step(lambda clips=clips: ours(task, clips), optimizer)[0])
        task.model.eval()
        said = task.scores().argmax(dim=1).tolist()
        tokens = median(len(task.batch([clip]).prompt.input_ids[0]) for clip in range(min(20, bench.scale.clips)))
        labels = list(bench.corpus.labels)
    gold = bench.corpus.training().set_index("id")["label"][list(bench.cut.validation)]
    predicted = [labels[label] for label in said]
    return {
        "stack": stack,
        "whole": whole,
        "positions": tokens,
        "seconds_a_step": median(seconds),
        "gflop": gflop,
        "macro_f1": f1_score(gold, predicted, average="macro", labels=labels, zero_division=0),
        "uar": recall_score(gold, predicted, average="macro", labels=labels, zero_division=0),
    }


def memory(scale: Scale, clips: int, home: Path) -> dict[str, float]:
    """Peak memory of encoding and training on so many clips, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.hearing_memory", scale.llm, scale.encoder, str(clips), str(home)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return json.loads(done.stdout)


def run(quick: bool, out: Path | None) -> Path:
    """Measure what is not measured yet, and write the result whole."""
    scale = QUICK if quick else FULL
    if not quick and not (data_home() / "elicited_es").is_dir():
        raise DataError("the corpus elicited_es is not here: set EMOSER_DATA, or use --quick.")
    home = cache_home() / "benchmarks" / f"hearing-{fingerprint(scale)}"
    home.mkdir(parents=True, exist_ok=True)
    bench = Bench(scale, home / "features")

    found = {
        "steps": kept(home, "steps", lambda: side_by_side(bench)),
        "rows": [
            kept(home, f"row-{stack}-{whole}", lambda s=stack, w=whole: row(bench, s, w))
            for stack, whole in ((1, False), (4, False), (1, True))
        ],
        "memory": {
            str(clips): kept(home, f"memory-{clips}", lambda n=clips: memory(scale, n, home / f"memory-{n}"))
            for clips in (scale.clips, scale.many)
        },
    }
    target = out or (home if quick else ROOT / "book/benchmark/hearing") / "result.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, json.dumps(result(bench, found), indent=1, ensure_ascii=False) + "\n")
    return target


def result(bench: Bench, found: dict[str, Any]) -> dict[str, Any]:
    """What the page shows."""
    steps, scale = found["steps"], bench.scale
    seconds = {name: sum(of) for name, of in steps["seconds"].items()}
    many = [found["memory"][str(clips)]["peak_mb"] for clips in (scale.clips, scale.many)]
    per_batch = steps["gflop"]
    return {
        "llm": bench.llm.title,
        "encoder": bench.encoder.title,
        "corpus": scale.corpus,
        "clips": scale.clips,
        "held": scale.held,
        "epochs": scale.epochs,
        "batch_size": BATCH,
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        "matmul_gflops": median(steps["rates"]),
        "date": now(),
        "commit": commit(),
        "epoch_seconds": {**seconds, "encoding": steps["encoding"]},
        "times_faster": {
            "first": seconds["released"] / (seconds["kept"] + steps["encoding"]),
            "later": seconds["released"] / seconds["kept"],
        },
        "times_fewer_flops": {
            "first": per_batch["released"] / (per_batch["kept"] + per_batch["encoder"]),
            "later": per_batch["released"] / per_batch["kept"],
        },
        "gflop_a_step": per_batch,
        "largest_loss_difference": max(
            abs(a - b) for a, b in zip(steps["losses"]["kept"], steps["losses"]["released"], strict=True)
        ),
        "largest_gradient_difference": max(steps["gradients"]),
        "rows": found["rows"],
        "memory": found["memory"],
        "memory_growth": many[1] / many[0],
        "target": TARGET,
    }


if __name__ == "__main__":
    command("Measure projector training with and without frames kept.", run)
