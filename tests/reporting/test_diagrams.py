"""Block diagrams: what stands at the arrows is what the models make of a clip, and every box is reached."""

from dataclasses import replace

import pytest

from emoser_lib.corpora import load_corpus
from emoser_lib.reporting import figures
from emoser_lib.reporting.diagrams import Arrow, Box, Shapes, linear_diagram, measure, times
from emoser_lib.systems.declared import AudioSystem, Linear
from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.reading.llm import LLM

DEMO = load_corpus("demo")
CLIP = DEMO.training()["id"].iloc[0]
STACKED = AudioSystem(bridge=Linear(stack=4))


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOSER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def shapes(llm: LLM, encoder: Encoder) -> Shapes:
    return measure(llm, encoder, STACKED, DEMO, CLIP)


def test_shapes_are_those_of_the_clip_and_the_models(llm: LLM, encoder: Encoder, shapes: Shapes) -> None:
    frames, width = encoder.frames_of(shapes.samples), llm.model.config.hidden_size
    assert shapes.samples == len(DEMO.waveform(CLIP))
    assert shapes.mel == (encoder.extractor.feature_size, 2 * frames)  # type: ignore[attr-defined]
    assert shapes.frames == (frames, encoder.width)
    assert shapes.audio == (-(-frames // 4), width)
    assert shapes.text == (shapes.tokens, width)
    assert shapes.joined == (shapes.tokens + shapes.audio[0], width)
    assert (shapes.logits, shapes.labels) == (llm.model.config.vocab_size, 6)


def test_without_transcription_the_prompt_is_shorter_and_the_sound_is_the_same(
    llm: LLM, encoder: Encoder, shapes: Shapes
) -> None:
    silent = measure(llm, encoder, replace(STACKED, prompt="whisper-gemma-no-text"), DEMO, CLIP)
    assert silent.tokens < shapes.tokens
    assert silent.audio == shapes.audio


def test_layers_that_a_learnt_sum_weighs_are_in_the_shape(llm: LLM, encoder: Encoder, shapes: Shapes) -> None:
    weighed = measure(llm, encoder, replace(STACKED, layer="weighted"), DEMO, CLIP)
    assert weighed.frames == (encoder.layers, *shapes.frames)


def check(boxes: list[Box], arrows: list[Arrow]) -> None:
    names = {box.name for box in boxes}
    assert len(names) == len(boxes)
    assert all({arrow.start, arrow.end} <= names and arrow.label for arrow in arrows)
    assert {arrow.start for arrow in arrows} | {arrow.end for arrow in arrows} == names
    taken = [(box.row, column) for box in boxes for column in range(box.column, box.column + box.span)]
    assert len(set(taken)) == len(taken)
    rows = {box.name: box.row for box in boxes}
    assert all(rows[arrow.start] < rows[arrow.end] for arrow in arrows)


def test_every_box_is_reached_from_above_and_has_its_place(shapes: Shapes) -> None:
    check(*linear_diagram(shapes, STACKED))
    check(*linear_diagram(replace(shapes, mel=None), AudioSystem()))


def test_what_is_trained_is_said(shapes: Shapes) -> None:
    def trained(system: AudioSystem) -> list[str]:
        return [box.name for box in linear_diagram(shapes, system)[0] if box.state == "trained"]

    assert trained(STACKED) == ["projector"]
    assert trained(replace(STACKED, encoding="trained")) == ["encoder", "projector"]


def test_the_figure_has_every_title_state_and_label(shapes: Shapes) -> None:
    boxes, arrows = linear_diagram(shapes, STACKED, {"encoder": "Another encoder"})
    texts = [text.get_text() for text in figures.block_diagram(boxes, arrows).axes[0].texts]
    assert "Another encoder\n(frozen)" in texts
    assert "4 frames stacked\nLinear projector\n(trained)" in texts
    assert f"text\n{times(shapes.text)}" in texts
    assert all(arrow.label in texts for arrow in arrows)
