"""Tables and the diagram of Qwen-Audio: shapes that are in the files, and choices that the scores make."""

from pathlib import Path

import pandas as pd
import pytest

from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.experiments.training.cells import Cell
from emoser_lib.reporting import figures
from emoser_lib.reporting.hearing import qwen_tables
from emoser_lib.systems.declared import AudioSystem, Lora, Loss, Own
from emoser_lib.systems.qwen_audio import QwenAudio
from tests import tiny


@pytest.fixture(scope="module")
def demo() -> Corpus:
    return load_corpus("demo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("qwen")


@pytest.fixture(scope="module")
def qwen(folder: Path) -> QwenAudio:
    return tiny.qwen(folder)


def system(rank: int, alpha: int) -> AudioSystem:
    adapter = Lora(rank, alpha, "c_attn")
    loss = Loss("none", over="words")
    return AudioSystem("qwen-audio", chat="own", words="nouns", bridge=Own(), loss=loss, adaptation=adapter)


def cell(demo: Corpus, right: int, norms: tuple[float, ...] = (1.0,)) -> Cell:
    """One that is right about so many clips, and says the next label of the others."""
    rows = demo.training().head(20)
    scores = []
    for number, label in enumerate(rows["label"]):
        said = (demo.labels.index(label) + (number >= right)) % len(demo.labels)
        scores.append(tuple(float(at == said) for at in range(len(demo.labels))))
    log = tuple({"loss": 1.0, "grad_norm": norm} for norm in norms)
    facts = {"key": "k", "trainable": 1, "steps": 1, "seconds": 1.0, "threads": 1, "commit": None, "date": "d"}
    return Cell(ids=tuple(rows["id"]), labels=demo.labels, epochs=(tuple(scores),), log=log, **facts)


def test_the_shapes_are_those_of_the_files(qwen: QwenAudio, folder: Path) -> None:
    table = qwen_tables.conversion_table(folder / "dest")
    joint = table.loc["h.0.attn.c_attn.weight"]
    assert list(joint["shape"]) == ["72 × 24"] * 3
    assert list(joint["its shape"]) == ["24 × 24"] * 3
    assert table.loc["audio.audio_bos_eos_token.weight", "native"] == "two rows of the embeddings"
    assert table.loc["h.0.mlp.w2.weight", "native"].endswith("gate_proj.weight")


def test_the_diagram_has_a_shape_on_every_arrow(qwen: QwenAudio, demo: Corpus) -> None:
    clip = demo.training()["id"].iloc[0]
    boxes, arrows = qwen_tables.qwen_diagram(qwen, system(2, 4), demo, clip)
    told = {(arrow.start, arrow.end): arrow.label for arrow in arrows}
    places = qwen.encoder.frames_of(len(demo.waveform(clip)))
    assert told["projector", "joined"] == f"audio\n{places} × 24"
    assert told["pairs", "projector"] == f"{places} × 16"
    assert all(any(char.isdigit() for char in label) for label in told.values())
    assert {box.name: box.state for box in boxes}["llm"] == "trained"
    assert figures.block_diagram(boxes, arrows).axes


def test_one_adapter_for_three_is_smaller_than_three(qwen: QwenAudio) -> None:
    table = qwen_tables.adapters_by_target(qwen, [4])
    assert table.loc[4, "q,k,v"] / table.loc[4, "c_attn"] == 1.5
    assert all(not parameter.requires_grad for parameter in qwen.language.parameters())


def test_the_folds_choose_and_a_look_may_choose_another(demo: Corpus) -> None:
    one, other = system(4, 16), system(16, 256)
    grid = {one: [cell(demo, 15)], other: [cell(demo, 10)]}

    def looked(first: int, second: int) -> dict[AudioSystem, list[pd.Series]]:
        return {one: [cell(demo, first).predicted()], other: [cell(demo, second).predicted()]}

    table = qwen_tables.chosen_table(demo, grid, looked(8, 18))
    assert list(table["rank"]) == [4, 16]
    assert list(table["chosen by"]) == ["the folds", "a look"]
    assert table["on the test"].is_monotonic_increasing
    both = qwen_tables.chosen_table(demo, grid, looked(18, 8))
    assert list(both["chosen by"]) == ["the folds and a look", ""]
    blind = qwen_tables.chosen_table(demo, grid, {})
    assert list(blind["chosen by"]) == ["the folds", ""]
    assert "on the test" not in blind
    assert qwen_tables.chosen_table(demo, {}, {}).empty


def test_cut_gradients_are_counted(demo: Corpus) -> None:
    table = qwen_tables.clipped({system(4, 16): [cell(demo, 5, (0.1, 0.6, 0.7, 0.2))]}, clip=0.5)
    assert table.loc[0, "alpha / r"] == 4
    assert table.loc[0, "share cut"] == 0.5
    assert qwen_tables.clipped({}, clip=0.5).empty
