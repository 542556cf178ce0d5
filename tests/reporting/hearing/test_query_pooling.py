"""EmoSLLM's page: what is ours is said to be ours, and the shapes are those of the real mapper."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.errors import UsageError
from emoser_lib.experiments import EmosllmSettings
from emoser_lib.experiments.runs.parameters import parameters_of
from emoser_lib.experiments.training.audio import train_audio_cell, trained_system
from emoser_lib.experiments.training.folds import Fold
from emoser_lib.reporting import diagrams, figures
from emoser_lib.reporting.hearing import query_pooling
from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.hearing.encoders.loading import load_encoder
from emoser_lib.systems.hearing.encoding import hear
from emoser_lib.systems.reading.llm import LLM


@pytest.fixture(scope="module")
def defaults(root: Path) -> dict[str, Any]:
    parameters = parameters_of(root / "notebooks" / "10-emosllm.ipynb")
    return {name: parameter.default for name, parameter in parameters.items()}


@pytest.fixture
def settings(defaults: dict[str, Any], wavlm: Path) -> EmosllmSettings:
    return EmosllmSettings.check(**defaults | {"encoder": str(wavlm), "other_encoders": []})


@pytest.fixture(scope="module")
def wavlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random WavLM."""
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMModel

    folder = tmp_path_factory.mktemp("wavlm")
    torch.manual_seed(0)
    config = WavLMConfig(
        vocab_size=9,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8,) * 7,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    WavLMModel(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def demo() -> Corpus:
    return load_corpus("demo")


@pytest.fixture(scope="module")
def encoder(wavlm: Path) -> Encoder:
    return load_encoder(str(wavlm))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSER_CACHE", str(tmp_path))


def test_what_nobody_states_is_shown_as_our_choice(settings: EmosllmSettings) -> None:
    table = query_pooling.choices(settings)
    unknown = table[table["the paper's"] == "not known"]
    assert len(unknown) >= 8
    assert set(unknown["source"]) == {"our choice"}
    known = table[table["source"].isin(["the summary", "public reviews of the paper"])]
    assert not (known["the paper's"] == "not known").any()
    assert table["here"]["queries"] == str(settings.queries[0])
    assert table["the paper's"]["queries"] == "32"
    assert "0.003" in table["here"]["training"]


def test_the_mappers_steps_end_with_as_many_vectors_as_queries(
    llm: LLM, encoder: Encoder, settings: EmosllmSettings, demo: Corpus
) -> None:
    clip = demo.frame["id"].iloc[0]
    system = settings.system(queries=5)
    steps = query_pooling.mapper_steps(llm, encoder, system, demo, clip)
    frames = encoder.frames_of(min(len(demo.waveform(clip)), 48_000))
    assert steps["rows"].to_dict() == {
        "frames": frames,
        "entrance": frames,
        "joint": frames + 5,
        "encoded": frames + 5,
        "kept": 5,
        "exit": 5,
    }
    widths = [16, *[settings.mapper_width] * 4, llm.model.config.hidden_size]
    assert list(steps["width"]) == widths


def test_the_diagram_has_a_shape_on_every_arrow(
    llm: LLM, encoder: Encoder, settings: EmosllmSettings, demo: Corpus
) -> None:
    system = settings.system()
    shapes = diagrams.measure(llm, encoder, system, demo, demo.frame["id"].iloc[0])
    boxes, arrows = query_pooling.queries_diagram(shapes, system)
    names = {box.name for box in boxes}
    assert all(arrow.start in names and arrow.end in names for arrow in arrows)
    assert all(any(letter.isdigit() for letter in arrow.label) for arrow in arrows)
    assert {arrow.end for arrow in arrows} | {"waveform", "queries", "prompt"} == names
    assert [box.name for box in boxes if box.state == "trained"] == ["entrance", "queries", "mapper", "exit", "llm"]
    assert len({(box.row, box.column) for box in boxes}) == len(boxes)
    audio = next(arrow.label for arrow in arrows if arrow.start == "exit")
    assert audio == f"audio 8 × {llm.model.config.hidden_size}"
    assert figures.block_diagram(boxes, arrows).axes


def test_windows_end_where_the_clip_does(settings: EmosllmSettings, encoder: Encoder, demo: Corpus) -> None:
    seconds = {clip: len(demo.waveform(clip)) / 16_000 for clip in demo.frame["id"].iloc[:30]}
    long, short = max(seconds, key=seconds.__getitem__), min(seconds, key=seconds.__getitem__)
    table = query_pooling.windows(demo, settings.system(), [long, short])
    assert list(table["windows"]) == [2, 1]
    assert table["begin at"][long] == f"0.00, {seconds[long] - 3:.2f}"
    assert table["each"][short] == pytest.approx(seconds[short])


def test_ablations_change_one_thing_each(
    defaults: dict[str, Any], llm: LLM, encoder: Encoder, demo: Corpus, wavlm: Path
) -> None:
    given = {"encoder": str(wavlm), "other_encoders": [], "queries": [4, 1], "epochs": 1}
    settings = EmosllmSettings.check(**defaults | given)
    ablations = settings.ablations()
    assert list(ablations) == ["as it is", "1 queries", "speech weight 0.1"]
    rows = demo.training().groupby("label")["id"].head(2)
    cut = Fold(0, tuple(rows), tuple(demo.test()["id"].iloc[:6]))
    cells = {}
    for name, (_, system) in ablations.items():
        hearing = hear(encoder, system, demo, [*cut.train, *cut.validation])
        cells[name] = train_audio_cell(llm, system, hearing, cut)
    table = query_pooling.ablation_table(demo, cells)
    assert table["trained"]["as it is"] - table["trained"]["1 queries"] == 3 * settings.mapper_width
    assert table["trained"]["as it is"] == table["trained"]["speech weight 0.1"]
    assert len({cell.key for cell in cells.values()}) == 3
    json.dumps(table.to_dict("index"))
    _, system = ablations["as it is"]
    hearing, clip = hear(encoder, system, demo, cut.validation), cut.validation[0]
    with trained_system(llm, system, hearing, cells["as it is"]) as model, torch.no_grad():
        heard = hearing.features.batch([hearing.windows[clip][0]])
        read, block = query_pooling.attended(model.joined, heard), model.joined.bridge.encoder.layers[0]
        assert read.shape == (heard.lengths[0] + 4, settings.mapper_width)
        theirs = model.joined(heard)
        block.register_forward_pre_hook(lambda _, given: (given[0] * 0,))  # what it reads decides what comes out
        assert not torch.equal(model.joined(heard)[0], theirs[0])


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"queries": [8, 8]}, "queries has a value twice"),
        ({"speech_weights": [0.0, 0.0]}, "speech_weights has a value twice"),
        ({"mapper_width": 66}, "an even multiple of mapper_heads is needed"),
        ({"folds": [], "refit": False}, "nothing is trained"),
        ({"context": "window", "other_encoders": ["emoser/demo-wav2vec2"]}, "which only Whisper has"),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(
    settings: EmosllmSettings, changed: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        EmosllmSettings.check(**settings.model_dump() | changed)


def test_the_systems_own_encoder_is_not_compared_with_itself(settings: EmosllmSettings) -> None:
    with pytest.raises(UsageError, match="name others only"):
        EmosllmSettings.check(**settings.model_dump() | {"other_encoders": [settings.encoder]})
