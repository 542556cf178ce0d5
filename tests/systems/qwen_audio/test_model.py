"""Qwen-Audio as the original: its logits, whatever shares the batch, and prompts that strangers cannot break."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emoser_lib.errors import DataError, UsageError
from emoser_lib.systems.prompts.words import NOUNS
from emoser_lib.systems.qwen_audio import QwenAudio, convert_qwen_audio, load
from tests import tiny

DRAW = np.random.default_rng(0)


def heard(model: QwenAudio, waveforms: list[np.ndarray]) -> list[torch.Tensor]:
    return [vectors for [vectors] in model.encoder.encode(waveforms)]


def noise(samples: int) -> np.ndarray:
    return (DRAW.standard_normal(samples) * 0.1).astype(np.float32)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> QwenAudio:
    return tiny.qwen(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> QwenAudio:
    folder = tmp_path_factory.mktemp("original") / "dest"
    convert_qwen_audio(tiny.qwen_fixtures() / "weights", folder)
    return load(folder, dtype=torch.float32, device="cpu")


def cases() -> list[tuple[np.ndarray, torch.Tensor, torch.Tensor]]:
    """Waveform, ids, logits at the last six positions."""
    held = np.load(tiny.qwen_fixtures() / "weights/cases.npz")
    return [
        (
            held[f"pcm16_{case}"].astype(np.float32) / 32768,
            torch.from_numpy(held[f"input_ids_{case}"]),
            torch.from_numpy(held[f"logits_tail_{case}"]),
        )
        for case in range(4)
    ]


@pytest.mark.needs_fixtures
def test_the_logits_are_the_originals_alone(original: QwenAudio) -> None:
    for waveform, ids, expected in cases():
        torch.testing.assert_close(original.logits([waveform], ids[None])[0, -6:], expected, atol=1e-4, rtol=0)


@pytest.mark.needs_fixtures
@pytest.mark.parametrize("padding", [0, "placeholder", -100, 10**9])
def test_the_logits_are_the_originals_in_a_mixed_batch(original: QwenAudio, padding: int | str) -> None:
    held = cases()
    longest = max(len(ids) for _, ids, _ in held) + 3
    batch = torch.full((4, longest), original.placeholder if padding == "placeholder" else int(padding))
    for row, (_, ids, _) in enumerate(held):
        batch[row, : len(ids)] = ids
    logits = original.logits([waveform for waveform, _, _ in held], batch)
    for row, (_, ids, expected) in enumerate(held):
        torch.testing.assert_close(logits[row, len(ids) - 6 : len(ids)], expected, atol=1e-4, rtol=0)


@pytest.mark.needs_fixtures
def test_several_recordings_in_a_row_and_none(original: QwenAudio) -> None:
    (one, ids, _), (other, more, _) = cases()[0], cases()[3]
    both = torch.cat([ids, more])
    batch = torch.zeros(3, len(both), dtype=torch.long)
    batch[0], batch[1, :5], batch[2, : len(more)] = both, torch.arange(5), more
    logits = original.logits([one, other, other], batch)
    torch.testing.assert_close(logits[:1, : len(both)], original.logits([one, other], both[None]), atol=1e-5, rtol=0)
    torch.testing.assert_close(logits[2, len(more) - 6 : len(more)], cases()[3][2], atol=1e-4, rtol=0)
    torch.testing.assert_close(logits[1:2, :5], original.logits([], batch[1:2, :5]), atol=1e-5, rtol=0)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(samples=st.lists(st.integers(480, 40_000), min_size=1, max_size=4))
def test_a_clip_is_heard_as_if_alone(samples: list[int], qwen: QwenAudio) -> None:
    waveforms = [noise(length) for length in samples]
    together = heard(qwen, waveforms)
    for waveform, vectors in zip(waveforms, together, strict=True):
        assert len(vectors) == qwen.encoder.frames_of(len(waveform))
        torch.testing.assert_close(heard(qwen, [waveform])[0], vectors, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("samples", "places"), [(480, 1), (1_119, 1), (1_120, 2), (48_000, 75), (600_000, 750)])
def test_a_vector_each_forty_milliseconds(samples: int, places: int, qwen: QwenAudio) -> None:
    assert qwen.encoder.frames_of(samples) == places


def test_beyond_thirty_seconds_nothing_is_heard(qwen: QwenAudio) -> None:
    long = noise(500_000)
    assert torch.equal(heard(qwen, [long])[0], heard(qwen, [long[:480_000]])[0])


def test_a_clip_without_a_vector_is_refused(qwen: QwenAudio) -> None:
    with pytest.raises(DataError, match=r"has 0\.030 s of sound, .* needs 0\.030 s"):
        heard(qwen, [noise(479)])


def test_recordings_and_places_must_match(qwen: QwenAudio) -> None:
    waveform = noise(8_000)
    ids = qwen.encode_prompt("¿Qué emoción?", [waveform])
    for wrong in ([], [waveform, waveform], [noise(16_000)]):
        with pytest.raises(ValueError, match="runs of placeholders"):
            qwen.logits(wrong, ids)
    with pytest.raises(ValueError, match="the model reads 2048"):
        qwen.logits([], torch.zeros(1, 2049, dtype=torch.long))


def test_placeholders_in_the_padding_are_no_recordings(qwen: QwenAudio) -> None:
    waveform = noise(8_000)
    ids = qwen.encode_prompt("a", [waveform])
    padding = torch.tensor([[7, qwen.placeholder, 8, qwen.placeholder]])
    logits = qwen.logits([waveform], torch.cat([ids, padding], dim=1))
    torch.testing.assert_close(logits[:, : ids.shape[1]], qwen.logits([waveform], ids), atol=1e-5, rtol=0)


def test_an_answer_is_the_likeliest_each_time(qwen: QwenAudio) -> None:
    """Against token after token by `logits`, without a cache."""
    waveform = noise(8_000)
    ids = qwen.encode_prompt("¿Qué emoción?", [waveform])
    assert qwen.tokenizer is not None
    ends, written = {qwen.tokenizer.eos_token_id, qwen.tokenizer.pad_token_id}, []
    for _ in range(6):
        following = int(qwen.logits([waveform], ids)[0, -1].argmax())
        if following in ends:
            break
        written.append(following)
        ids = torch.cat([ids, torch.tensor([[following]])], dim=1)
    said = qwen.tokenizer.decode(written, skip_special_tokens=True).strip()
    assert qwen.answer("¿Qué emoción?", waveform, max_new_tokens=6) == said
    assert isinstance(qwen.answer("¿Qué emoción?", max_new_tokens=2), str)


@pytest.mark.parametrize("waveform", [None, noise(8_000)])
def test_label_scores_are_those_of_the_words_written_out(qwen: QwenAudio, waveform: np.ndarray | None) -> None:
    assert qwen.tokenizer is not None
    scores = qwen.label_scores("¿Qué emoción?", waveform)
    assert list(scores) == list(NOUNS)
    waveforms = [] if waveform is None else [waveform]
    asked = qwen.encode_prompt("¿Qué emoción?", waveforms)[0].tolist()
    for label, word in NOUNS.items():
        answer = [*qwen.tokenizer(word)["input_ids"], qwen.tokenizer.eos_token_id]
        logits = qwen.logits(waveforms, torch.tensor([[*asked, *answer]]))[0].log_softmax(dim=-1)
        expected = sum(float(logits[len(asked) - 1 + at, piece]) for at, piece in enumerate(answer))
        assert scores[label] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("samples", [481, 1599, 16_000, 64_037, 479_500, 479_999, 480_000, 500_000])
def test_the_silence_up_to_thirty_seconds_is_left_out_and_changes_nothing(qwen: QwenAudio, samples: int) -> None:
    """v1 pads each clip to thirty seconds before its spectrum is taken."""
    waveform = noise(samples)
    waveform[-1] = 1.0  # the loudest at the very end, where silence begins
    whole = qwen.encoder.extractor(waveform, sampling_rate=16_000, return_tensors="pt")["input_features"][0]
    kept = -(-min(samples, 480_000) // 160 // 2) * 2
    torch.testing.assert_close(qwen.encoder._mel(waveform)[:, :kept], whole[:, :kept], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "lost", ["tokenizer.json", "preprocessor_config.json", "conversion.json", "half the weights", "a shard"]
)
def test_a_folder_that_lost_something_is_not_loaded(lost: str, tmp_path: Path) -> None:
    tiny.qwen(tmp_path)
    [shard] = (tmp_path / "dest").glob("model-*.safetensors")
    if lost == "half the weights":
        os.truncate(shard, 9_000)
    else:
        (shard if lost == "a shard" else tmp_path / "dest" / lost).unlink()
    with pytest.raises(DataError, match=r"is not there|cannot be read") as caught:
        load(tmp_path / "dest", device="cpu")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        load(tmp_path / "nowhere")
    source = tiny.write_v1(tmp_path / "source")
    with pytest.raises(DataError, match="convert it with"):
        load(source)
    convert_qwen_audio(source, tmp_path / "dest")
    model = load(tmp_path / "dest", device="cpu")
    with pytest.raises(UsageError, match="has no tokenizer"):
        model.encode_prompt("a")
