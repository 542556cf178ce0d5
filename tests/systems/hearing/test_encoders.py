"""Audio encoders: alone as in a batch, as the libraries' own models say, trimmed to the clip."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor, WhisperModel

from emoser_lib.errors import DataError, UsageError
from emoser_lib.systems.checkpoints.catalogue import DEMO
from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.hearing.encoders.loading import load_encoder

Folders = Callable[[str], Path]

KINDS = ("whisper", "wavlm", "wav2vec2", "emotion2vec")
EVERY = [("whisper", "clip"), ("whisper", "window"), *((kind, "clip") for kind in (*KINDS[1:], "wavlm-group"))]


def load(folders: Folders, kind: str, context: str = "clip") -> Encoder:
    return load_encoder(str(folders(kind)), device="cpu", context=context)  # type: ignore[arg-type]


def sounds(*samples: int) -> list[np.ndarray]:
    """Noise of another loudness each, so that normalising a batch as a whole would show."""
    rng = np.random.default_rng(0)
    return [(0.1 * (i + 1) * rng.standard_normal(n)).astype(np.float32) for i, n in enumerate(samples)]


@pytest.mark.parametrize(("kind", "context"), EVERY)
@pytest.mark.filterwarnings("error")  # they would land in a notebook's output
def test_a_clip_has_the_same_frames_alone_and_in_a_batch(encoder_folder: Folders, kind: str, context: str) -> None:
    encoder = load(encoder_folder, kind, context)
    clips = sounds(9_999, 4_000, 16_001, 401)
    together = encoder.encode(clips, "all")
    for clip, frames in zip(clips, together, strict=True):
        [alone] = encoder.encode([clip], "all")
        assert alone.shape == frames.shape
        assert (alone - frames).abs().max() < 1e-5
    assert encoder.batches == (kind in ("whisper", "wavlm", "wav2vec2"))


@settings(max_examples=15, deadline=None)
@given(samples=st.lists(st.integers(400, 12_000), min_size=2, max_size=4), kind=st.sampled_from(["whisper", "wavlm"]))
def test_whatever_the_lengths_of_a_batch(encoder_folder: Folders, samples: list[int], kind: str) -> None:
    encoder = load(encoder_folder, kind)
    clips = sounds(*samples)
    for clip, frames in zip(clips, encoder.encode(clips), strict=True):
        assert (encoder.encode([clip])[0] - frames).abs().max() < 1e-5


def test_a_window_is_what_transformers_hears(encoder_folder: Folders) -> None:
    folder = encoder_folder("whisper")
    model = WhisperModel.from_pretrained(folder).eval().get_encoder()
    clips = sounds(16_000, 8_123)
    mels = WhisperFeatureExtractor.from_pretrained(folder)(clips, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        theirs = model(mels.input_features, output_hidden_states=True)
    assert theirs.last_hidden_state.shape[1] == 1500
    ours = load(encoder_folder, "whisper", "window").encode(clips, "all")
    for i, frames in enumerate(ours):
        kept = -(-len(clips[i]) // 320)
        assert frames.shape[1] == kept
        assert (frames[-1] - theirs.last_hidden_state[i, :kept]).abs().max() < 1e-5
        assert (frames[1] - theirs.hidden_states[1][i, :kept]).abs().max() < 1e-5


def test_a_clip_that_fills_the_window_is_heard_the_same_in_both_contexts(encoder_folder: Folders) -> None:
    clips = sounds(480_000)
    [clip], [window] = (load(encoder_folder, "whisper", context).encode(clips) for context in ("clip", "window"))
    assert clip.shape == (1, 1500, 32)
    assert (clip - window).abs().max() < 1e-5


def test_silence_after_a_clip_is_heard_in_a_window_only(encoder_folder: Folders) -> None:
    clip = sounds(8_000)
    [alone], [window] = (load(encoder_folder, "whisper", context).encode(clip) for context in ("clip", "window"))
    assert (alone - window).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["wavlm", "wavlm-group", "wav2vec2"])
def test_layers_are_those_of_transformers(encoder_folder: Folders, kind: str) -> None:
    folder = encoder_folder(kind)
    [clip] = sounds(9_000)
    values = Wav2Vec2FeatureExtractor.from_pretrained(folder)(clip, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        out = AutoModel.from_pretrained(folder).eval()(values.input_values, output_hidden_states=True)
    [ours] = load(encoder_folder, kind).encode([clip], "all")
    assert ours.shape == (3, (9_000 - 400) // 320 + 1, 32)
    assert (ours[-1] - out.last_hidden_state[0]).abs().max() < 1e-5
    assert (ours[1] - out.hidden_states[1][0]).abs().max() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_chosen_by_number(encoder_folder: Folders, kind: str) -> None:
    encoder = load(encoder_folder, kind)
    clip = sounds(5_000)
    [every] = encoder.encode(clip, "all")
    assert every.shape == (encoder.layers, 15 + (kind == "whisper"), encoder.width)
    for layer in (0, 1, encoder.layers - 1, -1):
        assert torch.equal(encoder.encode(clip, layer)[0][0], every[layer])
    assert not torch.allclose(every[0], every[1])
    for layer in (encoder.layers, -encoder.layers - 1):
        with pytest.raises(UsageError, match=f"has the layers 0 to {encoder.layers - 1} and -1, not {layer}"):
            encoder.encode(clip, layer)


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_heard_is_refused(encoder_folder: Folders, kind: str) -> None:
    encoder = load(encoder_folder, kind)
    shortest, longest = sounds(encoder.shortest, int(encoder.longest * 16_000))
    assert encoder.encode([shortest])[0].shape[1] == 1
    with pytest.raises(DataError, match=r"a clip has 0\.0\d\d s of sound, .* needs"):
        encoder.encode([shortest[:-1]])
    with pytest.raises(DataError, match=f"hears {encoder.longest:g} s at once: cut it"):
        encoder.encode([np.append(longest, longest[:20_000])])


def test_a_clip_that_is_refused_can_be_named(encoder_folder: Folders) -> None:
    with pytest.raises(DataError, match=r"^clip a\.wav has 0\.001 s of sound"):
        load(encoder_folder, "wavlm").check(np.zeros(10), "clip a.wav")


@pytest.mark.parametrize("kind", ["whisper", "wavlm", "wav2vec2"])
def test_a_batch_is_padded_with_zeros_and_gives_gradients(encoder_folder: Folders, kind: str) -> None:
    encoder = load(encoder_folder, kind)
    clips = sounds(6_000, 3_000)
    assert not encoder.encode(clips)[0].requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    encoder.requires_grad_(True)
    frames = encoder(clips)
    assert frames.values.shape == (2, 1, int(frames.lengths.max()), encoder.width)
    assert not frames.values[1, :, int(frames.lengths[1]) :].any()
    assert torch.equal(frames.of(1), frames.values[1, :, : int(frames.lengths[1])])
    frames.values.sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_emotion2vec_takes_one_clip_at_a_time(encoder_folder: Folders) -> None:
    with pytest.raises(UsageError, match="takes one clip at a time, not 2: call encode"):
        load(encoder_folder, "emotion2vec")(sounds(5_000, 5_000))


def test_a_language_model_is_not_an_encoder() -> None:
    with pytest.raises(UsageError, match=f"'{DEMO}' is not an audio encoder"):
        load_encoder(DEMO)


def test_the_configuration_is_part_of_what_an_encoder_is(encoder_folder: Folders, tmp_path: Path) -> None:
    shutil.copytree(encoder_folder("wavlm"), tmp_path / "other")
    settings_file = tmp_path / "other/preprocessor_config.json"
    settings_file.write_text(json.dumps(json.loads(settings_file.read_text()) | {"do_normalize": False}))
    one, other = load(encoder_folder, "wavlm"), load_encoder(str(tmp_path / "other"), device="cpu")
    assert one.sha256 == other.sha256
    assert one.configuration != other.configuration
    assert (one.encode(sounds(5_000))[0] - other.encode(sounds(5_000))[0]).abs().max() > 1e-3


def test_half_precision_gives_half_precision(encoder_folder: Folders) -> None:
    encoder = load_encoder(str(encoder_folder("whisper")), device="cpu", dtype="bfloat16")
    [frames] = encoder.encode(sounds(2_000))
    assert frames.dtype == torch.bfloat16
    assert encoder.how == {"class": "WhisperFrames", "dtype": "torch.bfloat16", "context": "clip"}
