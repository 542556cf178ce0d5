"""Tables and the diagram of the chapters on Qwen-Audio."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import safe_open

from emoser_lib.corpora import Corpus
from emoser_lib.reporting.diagrams import Arrow, Box, State, measure, times
from emoser_lib.reporting.reading.adapters import Grid
from emoser_lib.reporting.scores import score_on
from emoser_lib.systems.declared import AudioSystem, Lora
from emoser_lib.systems.qwen_audio import QwenAudio
from emoser_lib.systems.qwen_audio.layout import ConfigurationV1, native_names, shapes
from emoser_lib.systems.reading.lora import adapted

SHOWN = (
    "transformer.wte.weight",
    "transformer.h.0.attn.c_attn.weight",
    "transformer.h.0.mlp.w1.weight",
    "transformer.h.0.mlp.w2.weight",
    "transformer.audio.conv1.weight",
    "transformer.audio.positional_embedding",
    "transformer.audio.blocks.0.attn.key.weight",
    "transformer.audio.proj.weight",
    "transformer.audio.audio_bos_eos_token.weight",
)
"""One tensor of each kind of change."""


def conversion_table(folder: Path) -> pd.DataFrame:
    """Tabulate what became of some tensors of the first version, with the shapes that are in the files.

    Args:
        folder: from `qwen_audio.converted`.

    Returns:
        One row per new tensor: its old name and shape, its new name and shape.
    """
    told = json.loads((folder / "conversion.json").read_text(encoding="utf-8"))
    expected = shapes(ConfigurationV1.model_validate(told["configuration"]))
    where = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))["weight_map"]
    rows = []
    for old in SHOWN:
        for new in native_names(old) or ("",):
            found = _shape(folder / where[new], new) if new else ()
            rows.append(
                {
                    "first version": old.removeprefix("transformer."),
                    "shape": times(expected[old]),
                    "native": new or "two rows of the embeddings",
                    "its shape": times(found),
                }
            )
    return pd.DataFrame(rows).set_index("first version")


def _shape(path: Path, name: str) -> tuple[int, ...]:
    with safe_open(path, framework="pt") as file:
        return tuple(file.get_slice(name).get_shape())


def qwen_diagram(qwen: QwenAudio, system: AudioSystem, corpus: Corpus, clip: str) -> tuple[list[Box], list[Arrow]]:
    """Draw up THAU-UPM's Figure 1 with the shapes of one clip, measured while it passes.

    Args:
        qwen: the model.
        system: says whether the language model is trained.
        corpus, clip: which clip.
    """
    seen: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Any:
        return lambda _, given: seen.update({name: tuple(given[0].shape[1:])})

    tower: Any = qwen.encoder.tower
    hooks = [
        tower.conv1.register_forward_pre_hook(note("mel")),
        tower.layers[0].register_forward_pre_hook(note("frames")),
        qwen.encoder.projector.register_forward_pre_hook(note("pairs")),
    ]
    try:
        passed = measure(qwen.llm, qwen.encoder, system, corpus, clip)
    finally:
        for hook in hooks:
            hook.remove()
    llm: State = "trained" if system.adaptation else "frozen"
    boxes = [
        Box("waveform", "Waveform", "", 0, 0),
        Box("mel", "Log-mel spectrogram", "", 1, 0),
        Box("encoder", "Audio encoder", "trained" if system.ears else "frozen", 2, 0),
        Box("pairs", "Pairs of frames averaged", "", 3, 0),
        Box("projector", "Projection layer", "frozen", 4, 0),
        Box("prompt", "Prompt and\ntranscription", "", 3, 1),
        Box("embedding", "Embedding table", "frozen", 4, 1),
        Box("joined", "Audio, then the text", "", 5, 0, 2),
        Box("llm", "Qwen with LoRA" if system.adaptation else "Qwen", llm, 6, 0, 2),
        Box("answer", "The answer, token by token", "", 7, 0, 2),
    ]
    arrows = [
        Arrow("waveform", "mel", f"{passed.samples:,} samples"),
        Arrow("mel", "encoder", f"{seen['mel'][0]} bands × {seen['mel'][1]:,}"),
        Arrow("encoder", "pairs", f"frames\n{times(seen['frames'])}"),
        Arrow("pairs", "projector", times(seen["pairs"])),
        Arrow("projector", "joined", f"audio\n{times(passed.audio)}"),
        Arrow("prompt", "embedding", f"{passed.tokens:,} tokens"),
        Arrow("embedding", "joined", f"text\n{times(passed.text)}"),
        Arrow("joined", "llm", f"embeddings {times(passed.joined)}"),
        Arrow("llm", "answer", f"logits of each next token: {passed.logits:,}"),
    ]
    return boxes, arrows


def adapters_by_target(qwen: QwenAudio, ranks: list[int]) -> pd.DataFrame:
    """Count trained parameters by rank, as peft does: one adapter for c_attn, or three for its parts.

    Returns:
        One row per rank: c_attn, q,k,v, and the share of c_attn in the whole model.
    """
    total = sum(p.numel() for part in (qwen.language, qwen.encoder) for p in part.parameters())
    rows: dict[int, dict[str, int]] = {}
    for rank in ranks:
        rows[rank] = {}
        for targets in ("c_attn", "q,k,v"):
            with adapted(qwen.language, Lora(rank, rank, targets)) as model:
                rows[rank][targets] = sum(p.numel() for p in model.parameters() if p.requires_grad)
    table = pd.DataFrame(rows).T.rename_axis("rank")
    return table.assign(**{"share of the model": table["c_attn"] / total})


def rank_and_alpha_of(system: AudioSystem) -> dict[str, int]:
    """Name what the systems of a grid of adapters differ in."""
    assert system.adaptation is not None
    return {"rank": system.adaptation.rank, "alpha": system.adaptation.alpha}


def clipped(grid: Grid, clip: float) -> pd.DataFrame:
    """Tabulate how large gradients were along a training, and how many were clipped, per system of a grid.

    Args:
        grid: the cells.
        clip: the largest norm that is left as it is.

    Returns:
        One row per system, by the factor of its adapter: rank, alpha, alpha / r, the median norm of the logged steps'
        gradients before they were cut, and the share that was.
    """
    rows = []
    for system, cells in grid.items():
        norms = pd.Series([entry["grad_norm"] for cell in cells for entry in cell.log])
        which = rank_and_alpha_of(system)
        rows.append(
            {
                **which,
                "alpha / r": which["alpha"] / which["rank"],
                "median norm": norms.median(),
                "share cut": (norms > clip).mean(),
            }
        )
    table = pd.DataFrame(rows)
    return table.sort_values("alpha / r", ignore_index=True) if len(table) else table


def chosen_table(corpus: Corpus, grid: Grid, looked: Mapping[AudioSystem, Sequence[pd.Series]]) -> pd.DataFrame:
    """Compare what the folds say of each system with what a look at the test clips would have said.

    Args:
        corpus: gives the gold labels.
        grid: the cells of the folds.
        looked: what each system's cells say of the test clips; empty: nobody looked.

    Returns:
        One row per system, the folds' best first: rank, alpha, macro-F1 on the folds and on the test, each the mean
        over the cells, and who would choose it.
    """
    rows = []
    for system, cells in grid.items():
        folds = [score_on(corpus, one.predicted()).macro_f1 for one in cells]
        row = {**rank_and_alpha_of(system), "on folds": sum(folds) / len(folds)}
        if looked:
            test = [score_on(corpus, said).macro_f1 for said in looked[system]]
            row["on the test"] = sum(test) / len(test)
        rows.append(row)
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    table = table.sort_values("on folds", ascending=False, ignore_index=True)
    choices = [("the folds", 0)]
    if looked:
        choices.append(("a look", int(table["on the test"].to_numpy().argmax())))
    chooses = [" and ".join(who for who, choice in choices if choice == row) for row in range(len(table))]
    return table.assign(**{"chosen by": chooses})
