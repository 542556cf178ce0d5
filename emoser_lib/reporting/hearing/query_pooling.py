"""EmoSLLM on a page: what is known of it and what we chose, its diagram, its mapper step by step, its parameters."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch

from emoser_lib.corpora import Corpus
from emoser_lib.corpora.audio import SAMPLE_RATE
from emoser_lib.experiments import EmosllmSettings
from emoser_lib.experiments.training.cells import Cell
from emoser_lib.reporting.diagrams import Arrow, Box, Shapes, reading, times
from emoser_lib.reporting.ledger.claims import claims
from emoser_lib.reporting.scores import score_on
from emoser_lib.systems.declared import AudioSystem, Queries
from emoser_lib.systems.hearing.assembly import assembled
from emoser_lib.systems.hearing.bridges import Joined, QueryPoolingMapper
from emoser_lib.systems.hearing.encoders.encoder import Encoder, Frames
from emoser_lib.systems.hearing.encoding import hear, window_starts, windows_of
from emoser_lib.systems.reading.llm import LLM

SUMMARY, REVIEWS, OURS = "the summary", "public reviews of the paper", "our choice"


def choices(settings: EmosllmSettings) -> pd.DataFrame:
    """Tabulate what the system is here, what is known of the paper's, and who says so.

    Returns:
        One row per choice: here, the paper's, source.
    """
    s, unknown = settings, "not known"
    said = claims()["printed"]
    layers, heads, width = (said[f"emosllm-mapper-{what}"] for what in ("layers", "heads", "width"))
    lora = f"LoRA on {s.targets}, rank {s.rank}, alpha {s.alpha}, dropout {s.dropout:g}"
    mapper = f"{s.mapper_layers} layers, {s.mapper_heads} heads, width {s.mapper_width}"
    blocks = f"{s.norm}-norm, GELU, feed-forward width {s.mapper_mlp}, dropout {s.mapper_dropout:g}"
    cut = f"{s.window_seconds:g} s windows side by side, the last one ends with the clip"
    learns = f"Adam, learning rate {s.learning_rate:g} down to 0, batch {s.batch_size}, {s.epochs} epochs"
    here = f"{s.window_seconds:g} s" if s.window_seconds else "whole clips"
    second = f"recognition of speech, weight {s.speech_weights[0]:g}"
    orders = f"{said['emosllm-order']} (Technical Details); {said['emosllm-order-methodology']} (Methodology)"
    rows = [
        ("language model", s.llm, said["emosllm-llm"], SUMMARY),
        ("its adaptation", lora, "LoRA; matrices, rank and alpha not known", f"{SUMMARY}; numbers: {OURS}"),
        ("audio encoder", s.encoder, said["emosllm-encoders"], SUMMARY),
        ("its weights", "frozen", unknown, OURS),
        ("its layer", s.layer, unknown, OURS),
        ("bridge", "learnt queries in a Transformer encoder", "the same", SUMMARY),
        ("queries", str(s.queries[0]), said["emosllm-queries"], REVIEWS),
        ("where they go", "after the frames; only their places are kept", "the same", REVIEWS),
        ("Transformer encoder", mapper, f"{layers} layers, {heads} heads, width {width}", REVIEWS),
        ("its blocks", blocks, unknown, OURS),
        ("into its width", "one linear layer a frame", unknown, OURS),
        ("order of the frames", s.positions, unknown, OURS),
        ("order of the input", "audio, prompt, transcription", orders, SUMMARY),
        ("wording of the prompt", "see below", unknown, OURS),
        ("length of the input", here, f"{said['emosllm-window-seconds']} s", SUMMARY),
        ("longer clips", cut if s.window_seconds else "whole", unknown, OURS),
        ("several windows", "mean of their probabilities", unknown, OURS),
        ("second task", second, "recognition of speech, in the same pipeline", f"{REVIEWS}; weight: {OURS}"),
        ("loss", f"cross-entropy over the labels' words, weights: {s.weights}", unknown, OURS),
        ("training", learns, unknown, OURS),
        (
            "what is trained",
            "mapper and LoRA together",
            "LoRA; the mapper is learnable",
            f"{SUMMARY}; together: {OURS}",
        ),
        ("data", s.corpus, "standard benchmarks, not named", SUMMARY),
    ]
    return pd.DataFrame(rows, columns=["choice", "here", "the paper's", "source"]).set_index("choice")


def queries_diagram(
    shapes: Shapes, system: AudioSystem, titles: Mapping[str, str] | None = None
) -> tuple[list[Box], list[Arrow]]:
    """Draw up EmoSLLM with its mapper opened: boxes and arrows for `figures.block_diagram`.

    Args:
        shapes: from `diagrams.measure`.
        system: its bridge is `Queries`.
        titles: other names for the boxes "encoder" and "llm".
    """
    named = {"encoder": "Audio encoder", "llm": "Language model with LoRA"} | dict(titles or {})
    bridge = system.bridge
    assert isinstance(bridge, Queries)
    frames, queries, width = shapes.frames[-2], bridge.queries, bridge.width
    boxes = [
        Box("waveform", "Waveform", "", 0, 0),
        Box("encoder", named["encoder"], "frozen", 1, 0),
        Box("entrance", "Linear", "trained", 2, 0),
        Box("queries", f"{queries} queries", "trained", 2, 1),
        Box("mapper", f"Transformer encoder, {bridge.layers} layers", "trained", 3, 0, 2),
        Box("exit", "Linear", "trained", 4, 0, 2),
        Box("prompt", "Prompt and\ntranscription", "", 3, 2),
        Box("embedding", "Embedding table", "frozen", 4, 2),
        Box("joined", "Audio, then the text", "", 5, 0, 3),
    ]
    arrows = [
        Arrow("waveform", "encoder", f"{shapes.samples:,} samples"),
        Arrow("encoder", "entrance", f"frames\n{times(shapes.frames)}"),
        Arrow("entrance", "mapper", times((frames, width))),
        Arrow("queries", "mapper", times((queries, width))),
        Arrow("mapper", "exit", f"{times((queries, width))}, the queries' of {frames + queries}"),
        Arrow("exit", "joined", f"audio {times(shapes.audio)}"),
    ]
    reads, flows = reading(shapes, system, named["llm"], 6, columns=3)
    return boxes + reads, arrows + flows


@torch.no_grad()
def mapper_steps(llm: LLM, encoder: Encoder, system: AudioSystem, corpus: Corpus, clip: str) -> pd.DataFrame:
    """Tabulate the shapes of one clip's first window on its way through the mapper.

    Returns:
        One row per step: rows (frames or queries), numbers in each, and what happens.
    """
    hearing = hear(encoder, system, corpus, [clip])
    frames = encoder([hearing.waveform(hearing.windows[clip][0])], system.encoder_layer)
    seen: list[tuple[str, torch.Tensor, str]] = [("frames", frames.of(0)[-1], "the frozen encoder's")]
    with assembled(llm, system, encoder) as model:
        mapper = model.eval().joined.bridge
        assert isinstance(mapper, QueryPoolingMapper)
        hooks = [
            mapper.entrance.register_forward_hook(
                lambda _, __, out: seen.append(("entrance", out[0], "one linear layer, for each frame"))
            ),
            mapper.encoder.register_forward_pre_hook(
                lambda _, given: seen.append(("joint", given[0][0], "the queries, appended to the frames"))
            ),
            mapper.encoder.register_forward_hook(
                lambda _, __, out: seen.append(("encoded", out[0], "the Transformer encoder: all look at all"))
            ),
            mapper.exit.register_forward_pre_hook(
                lambda _, given: seen.append(("kept", given[0][0], "the places of the queries, nothing else"))
            ),
            mapper.exit.register_forward_hook(
                lambda _, __, out: seen.append(("exit", out[0], "into the language model's width"))
            ),
        ]
        try:
            model.joined(frames)
        finally:
            for hook in hooks:
                hook.remove()
    rows = [(name, values.shape[0], values.shape[1], how) for name, values, how in seen]
    return pd.DataFrame(rows, columns=["step", "rows", "width", "what happens"]).set_index("step")


@torch.no_grad()
def attended(joined: Joined, frames: Frames) -> torch.Tensor:
    """Return what the mapper's first block attends to of one clip: its frames, then the queries, [T + queries, width].

    Args:
        joined: of a system whose bridge is `Queries`.
        frames: of one clip.
    """
    block = joined.bridge.encoder.layers[0]
    seen: list[torch.Tensor] = []
    hook = block.register_forward_pre_hook(lambda _, given: seen.append(given[0][0]))
    try:
        joined(frames)
    finally:
        hook.remove()
    read: torch.Tensor = block.norm1(seen[0]) if block.norm_first else seen[0]
    return read


def windows(corpus: Corpus, system: AudioSystem, clips: Sequence[str]) -> pd.DataFrame:
    """Tabulate how clips are cut: seconds, windows and the seconds at which each window begins."""
    rows = []
    for clip in clips:
        waveform = corpus.waveform(clip)
        seconds = len(waveform) / SAMPLE_RATE
        starts = window_starts(len(waveform), system.window_seconds)
        length = len(windows_of(waveform, system.window_seconds)[0]) / SAMPLE_RATE
        begins = ", ".join(f"{start / SAMPLE_RATE:.2f}" for start in starts)
        rows.append({"clip": clip, "seconds": seconds, "windows": len(starts), "each": length, "begin at": begins})
    return pd.DataFrame(rows).set_index("clip")


def ablation_table(corpus: Corpus, cells: Mapping[str, Cell]) -> pd.DataFrame:
    """Score systems with one thing changed on the same cut: macro-F1, UAR, trained parameters, seconds."""
    rows = {}
    for name, cell in cells.items():
        scored = score_on(corpus, cell.predicted())
        rows[name] = {
            "macro-F1": scored.macro_f1,
            "UAR": scored.uar,
            "trained": cell.trainable,
            "seconds": cell.seconds,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")
