"""Qwen-Audio: labels scored beside answers written, and training steps of ours beside padded ones.

    make bench-answering                 about five minutes of two quiet cores
    make bench-answering ARGS=--quick    a tiny model and few clips: does it all run?

What is computed does not depend on what the weights are: the model has the real one's form, smaller, and random
numbers. Both sides of each comparison run in one process, in turn. What a stopped run has finished is not measured
again.
"""

import copy
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    WhisperFeatureExtractor,
)

from benchmarks.hearing import counted, in_turn, ours
from benchmarks.run import command, fingerprint, kept
from benchmarks.worker import matmul_rate
from emoser_lib.corpora import Corpus, cache_home, load_corpus
from emoser_lib.corpora.audio import SAMPLE_RATE
from emoser_lib.environment import ROOT, commit, hardware, now
from emoser_lib.files import write_whole
from emoser_lib.systems.checkpoints.catalogue import DEMO_QWEN
from emoser_lib.systems.checkpoints.folders import find_checkpoint
from emoser_lib.systems.declared import AudioSystem, Lora, Loss, Own
from emoser_lib.systems.hearing.assembly import assembled
from emoser_lib.systems.hearing.audio_llm import AudioLLM
from emoser_lib.systems.hearing.audio_task import AudioExamples, AudioTask, audio_examples
from emoser_lib.systems.hearing.encoders.encoder import Frames
from emoser_lib.systems.hearing.encoding import hear
from emoser_lib.systems.prompts.text import AUDIO
from emoser_lib.systems.qwen_audio import QwenAudio, converted
from emoser_lib.systems.qwen_audio.layout import ConfigurationV1, native_configuration
from emoser_lib.systems.reading.label_logits import label_loss
from emoser_lib.systems.reading.packing import plain_batch

BATCH = 16
"""Clips that are scored or answered at once."""
SYSTEM = AudioSystem(
    "qwen-audio",
    chat="own",
    words="nouns",
    bridge=Own(),
    loss=Loss("none", mean="clips", over="words"),
    adaptation=Lora(8, 16, "c_attn", 0.0),
)


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        shape: of the model, as in a v1 config.json; and ``audio``, its encoder's.
        clips: to score and to answer about.
        steps: of training, at each of the ``batches``.
        repeats: of scoring and answering.
    """

    shape: tuple[tuple[str, int], ...]
    audio: tuple[tuple[str, int], ...]
    clips: int
    steps: int
    batches: tuple[int, ...]
    repeats: int


FULL = Scale(
    # An eighth of the width, a quarter of the layers.
    (
        ("hidden_size", 512),
        ("num_hidden_layers", 8),
        ("num_attention_heads", 8),
        ("kv_channels", 64),
        ("intermediate_size", 2752),
    ),
    (("n_state", 160), ("n_head", 4), ("n_layer", 8), ("output_dim", 512)),
    clips=64,
    steps=16,
    batches=(3, 8),
    repeats=3,
)
QUICK = Scale((), (), clips=4, steps=2, batches=(3,), repeats=1)


@dataclass
class Bench:
    """The model and the clips."""

    scale: Scale

    @cached_property
    def native(self) -> Qwen2AudioForConditionalGeneration:
        """As `Qwen2AudioForConditionalGeneration` has it."""
        config = json.loads((find_checkpoint(DEMO_QWEN, "audio llm") / "config.json").read_text())
        config |= dict(self.scale.shape) | {"audio": config["audio"] | dict(self.scale.audio)}
        torch.manual_seed(0)
        native = native_configuration(ConfigurationV1.model_validate(config), "float32")
        return Qwen2AudioForConditionalGeneration(Qwen2AudioConfig(**native)).requires_grad_(False).eval()

    @cached_property
    def qwen(self) -> QwenAudio:
        """The same parameters, as the book has them."""
        folder = converted(DEMO_QWEN)
        extractor = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        qwen = QwenAudio(self.native, tokenizer, extractor, "random", "random")
        qwen.encoder.configuration = json.dumps(self.scale.audio)
        return qwen

    @cached_property
    def corpus(self) -> Corpus:
        return load_corpus("demo")

    @cached_property
    def ids(self) -> list[str]:
        rows = self.corpus.training()
        return list(rows.sample(self.scale.clips, random_state=0)["id"])

    def heard(self, home: Path) -> tuple[AudioExamples, AudioExamples, list[list[int]], Any]:
        """Prompts of all clips, to learn and to score; the labels' words; and the clips' frames."""
        hearing = hear(self.qwen.encoder, SYSTEM, self.corpus, self.ids, home)
        learnt, _, verbaliser, _ = audio_examples(self.qwen.llm, SYSTEM, hearing, self.ids, ())
        scored = AudioExamples(learnt.prefix, learnt.rests, learnt.sounds, learnt.clips)
        return learnt, scored, [list(word) for word in verbaliser.ids], hearing.features


def score(bench: Bench, home: Path) -> Tensor:
    """The labels' likelihoods, as `qwen_zero_shot.label_scores` has them."""
    _, scored, words, features = bench.heard(home)
    model = AudioLLM(bench.qwen.language, Own(), bench.qwen.encoder.width)
    nothing = AudioExamples(scored.prefix, (), (), ())
    return AudioTask(model, words, SYSTEM.loss, [], nothing, scored, features, batch_size=BATCH).scores()


@torch.no_grad()
def generate(bench: Bench, tokens: int, home: Path) -> None:
    """What a user would write: the native class, padded on the left; exactly so many tokens, greedily.

    Its encoder hears each clip with silence up to thirty seconds.
    """
    qwen, corpus = bench.qwen, bench.corpus
    _, scored, _, _ = bench.heard(home)  # for its prompts
    greedy = GenerationConfig(max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0)
    for start in range(0, len(bench.ids), BATCH):
        some = range(start, min(start + BATCH, len(bench.ids)))
        waveforms = [corpus.waveform(bench.ids[clip]) for clip in some]
        sound = qwen.encoder.extractor(
            waveforms, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True
        )
        _, places = bench.native.model.audio_tower._get_feat_extract_output_lengths(sound["attention_mask"].sum(-1))
        rows = [
            filled([*scored.prefix, *scored.rests[clip]], [qwen.placeholder] * count)
            for clip, count in zip(some, places.tolist(), strict=True)
        ]
        length = max(map(len, rows))
        bench.native.generate(
            input_ids=torch.tensor([[0] * (length - len(row)) + row for row in rows]),
            attention_mask=torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows]),
            input_features=sound["input_features"],
            feature_attention_mask=sound["attention_mask"],
            generation_config=greedy,
        )


def filled(rest: Sequence[int], places: Sequence[int]) -> list[int]:
    """A prompt with the audio's places in it."""
    at = list(rest).index(AUDIO)
    return [*rest[:at], *places, *rest[at + 1 :]]


def answering(bench: Bench) -> dict[str, Any]:
    """Seconds of each repetition, in turn, and GFLOP."""
    with tempfile.TemporaryDirectory() as temporary:
        kept = Path(temporary) / "kept"
        words = bench.heard(kept)[2]
        fresh = iter(range(1000))
        ways: dict[str, Callable[[], object]] = {
            "scored": lambda: score(bench, Path(temporary) / str(next(fresh))),
            "scored, frames kept": lambda: score(bench, kept),
        }
        for tokens in (max(map(len, words)), BATCH):
            ways[f"written, {tokens} tokens"] = lambda tokens=tokens: generate(bench, tokens, kept)
        gflop = {name: counted(way) for name, way in ways.items()}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        rates = []
        for _ in range(bench.scale.repeats):
            rates.append(matmul_rate())
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - start)
            print(", ".join(f"{name} {of[-1]:.1f} s" for name, of in seconds.items()), flush=True)
    return {"seconds": seconds, "gflop": gflop, "rates": rates}


def padded(task: AudioTask, clips: Sequence[int], hears: Callable[[list[str]], Frames] | None = None) -> Tensor:
    """The usual step: whole prompts as padded rows, logits at every position; hearing the clips anew, if told how."""
    learnt, model = task.learnt, task.model
    sounds = [learnt.sounds[clip] for clip in clips]
    frames: Any = hears(sounds) if hears else task.features.batch(sounds)  # type: ignore[union-attr]
    rests = [
        filled(learnt.rests[clip], [AUDIO] * count) for clip, count in zip(clips, frames.lengths.tolist(), strict=True)
    ]
    rows = plain_batch(learnt.prefix, rests, [task.words[learnt.labels[clip]] for clip in clips])
    read = model.read(rows, model.heard(frames))
    logits = model.llm(inputs_embeds=read, attention_mask=rows.attention_mask, use_cache=False).logits
    return label_loss(logits[rows.labels.keep], rows.labels)


def training(bench: Bench, size: int, home: Path) -> dict[str, Any]:
    """LoRA steps of so many clips: ours, padded rows, and padded rows with the encoder run at each step."""
    learnt, scored, words, features = bench.heard(home)
    encoder, corpus = bench.qwen.encoder, bench.corpus

    @torch.no_grad()
    def hears(sounds: list[str]) -> Frames:
        return encoder([corpus.waveform(sound) for sound in sounds])

    with ExitStack() as open_models:
        names = ("ours", "padded", "heard anew")
        tasks = {}
        for name in names:
            llm = replace(bench.qwen.llm, model=copy.deepcopy(bench.qwen.language))
            model = open_models.enter_context(assembled(llm, SYSTEM, encoder)).train()
            tasks[name] = AudioTask(model, words, SYSTEM.loss, [1.0] * len(words), learnt, scored, features)
        ways: dict[str, Callable[[Sequence[int]], Tensor]] = {
            "ours": lambda clips: ours(tasks["ours"], clips),
            "padded": lambda clips: padded(tasks["padded"], clips),
            "heard anew": lambda clips: padded(tasks["heard anew"], clips, hears),
        }
        optimizers = {
            name: torch.optim.AdamW((p for p in task.model.parameters() if p.requires_grad), lr=1e-4)
            for name, task in tasks.items()
        }
        draw = np.random.default_rng(0)
        order = [draw.choice(len(bench.ids), size, replace=False).tolist() for _ in range(bench.scale.steps)]
        gflop = {
            name: median(counted(lambda w=way, c=clips: w(c).backward()) for clips in order[:3])
            for name, way in ways.items()
        }
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        return {"gflop": gflop, **in_turn(ways, optimizers, order)}


def run(quick: bool, out: Path | None) -> Path:
    """Measure what is not measured yet, and write the result whole."""
    scale = QUICK if quick else FULL
    home = cache_home() / "benchmarks" / f"answering-{fingerprint(scale)}"
    home.mkdir(parents=True, exist_ok=True)
    bench = Bench(scale)

    answers = kept(home, "answers", lambda: answering(bench))
    steps = {
        size: kept(home, f"steps-{size}", lambda s=size: training(bench, s, home / "features"))
        for size in scale.batches
    }
    target = out or (home if quick else ROOT / "book/benchmark/answering") / "result.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, json.dumps(result(bench, answers, steps), indent=1, ensure_ascii=False) + "\n")
    return target


def result(bench: Bench, answers: dict[str, Any], steps: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """What the page shows."""
    rates = [rate for of in (answers, *steps.values()) for rate in of["rates"]]
    return {
        "parameters": sum(p.numel() for p in bench.native.parameters()),
        "corpus": bench.corpus.name,
        "clips": bench.scale.clips,
        "batch_size": BATCH,
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        "matmul_gflops": median(rates),
        "date": now(),
        "commit": commit(),
        "answers": {
            name: {"seconds": median(of), "gflop": answers["gflop"][name]} for name, of in answers["seconds"].items()
        },
        "steps": [training_result(size, of) for size, of in steps.items()],
    }


def training_result(size: int, of: dict[str, Any]) -> dict[str, Any]:
    """Of one batch size."""
    mine = of["seconds"]["ours"]
    others = {name: [a / b for a, b in zip(of["seconds"][name], mine, strict=True)] for name in of["seconds"]}
    return {
        "batch_size": size,
        "steps": len(of["rates"]),
        "seconds": {name: median(seconds) for name, seconds in of["seconds"].items()},
        "times_slower": {name: median(ratios) for name, ratios in others.items()},
        "gflop": of["gflop"],
        "largest_loss_difference": max(
            abs(a - b) for name in of["losses"] for a, b in zip(of["losses"][name], of["losses"]["ours"], strict=True)
        ),
    }


if __name__ == "__main__":
    command("Measure labels scored beside answers written, and our training steps beside padded ones.", run)
