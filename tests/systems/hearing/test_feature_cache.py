"""Each clip is encoded once: what is kept is what was encoded, whatever happens to disk and processes."""

import json
import os
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emoser_lib.errors import DataError, UsageError
from emoser_lib.systems.hearing.cache_contents import cached_encoders, prune
from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.hearing.encoders.loading import load_encoder
from emoser_lib.systems.hearing.feature_cache import LOOK_AHEAD, FeatureCache, Features
from tests import tiny


@pytest.fixture(scope="module")
def encoder(encoder_folder: Callable[[str], Path]) -> Encoder:
    return load_encoder(str(encoder_folder("whisper")), device="cpu")


def changed(path: Path, content: bytes) -> None:
    """Write it as a fault of another day: a file system's clock is too coarse for one of the same moment."""
    later = time.time() + 5
    path.write_bytes(content)
    os.utime(path, (later, later))


@pytest.mark.parametrize("layer", [-1, 1, "all"])
def test_frames_are_those_of_the_encoder(encoder: Encoder, tmp_path: Path, layer: int) -> None:
    clips = tiny.sounds(5)
    features = FeatureCache(encoder, layer, tmp_path).add(clips)
    assert (features.layers, features.width) == (3 if layer == "all" else 1, 32)
    for clip, waveform in clips:
        [frames] = encoder.encode([waveform], layer)
        assert torch.equal(features[clip], frames)
        assert features.lengths[clip] == frames.shape[1]


def test_a_batch_is_padded_and_fewer_clips_are_a_choice(encoder: Encoder, tmp_path: Path) -> None:
    features = FeatureCache(encoder, -1, tmp_path, batch_size=3).add(tiny.sounds(5))
    batch = features.batch(["clip-4", "clip-0"])
    assert batch.lengths.tolist() == [features.lengths["clip-4"], features.lengths["clip-0"]]
    for row, clip in enumerate(("clip-4", "clip-0")):
        assert torch.equal(batch.of(row), features[clip])
    assert not batch.values[1, :, features.lengths["clip-0"] :].any()
    fewer = features.of(["clip-2", "clip-1"])
    assert list(fewer.lengths) == ["clip-2", "clip-1"]
    assert torch.equal(fewer["clip-2"], features["clip-2"])
    with pytest.raises(KeyError):
        fewer["clip-0"]
    with pytest.raises(UsageError, match="a batch of no clips"):
        features.batch([])


def test_a_batch_changes_nothing(encoder: Encoder, tmp_path: Path) -> None:
    clips = tiny.sounds(9)
    one = FeatureCache(encoder, -1, tmp_path / "one").add(clips)
    four = FeatureCache(encoder, -1, tmp_path / "four", batch_size=4).add(clips)
    for clip, _ in clips:
        assert (one[clip] - four[clip]).abs().max() < 1e-5


def test_a_clip_is_encoded_once_ever(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = tiny.sounds(4)
    first = FeatureCache(encoder, -1, tmp_path).add([*clips, ("the same sound", clips[0][1])])
    assert len(tiny.entries(tmp_path)) == 4
    monkeypatch.setattr(encoder, "encode", tiny.never)
    again = FeatureCache(encoder, encoder.layers - 1, tmp_path).add(clips)  # -1 by its number
    assert all(torch.equal(first[clip], again[clip]) for clip, _ in clips)
    assert torch.equal(first["the same sound"], first["clip-0"])


def test_what_frames_depend_on_is_their_key(
    encoder: Encoder, encoder_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(encoder_folder("whisper"))
    others: list[tuple[Encoder, int]] = [
        (load_encoder(folder, device="cpu", context="window"), -1),
        (load_encoder(folder, device="cpu", dtype="bfloat16"), -1),
        (load_encoder(str(encoder_folder("wavlm")), device="cpu"), -1),
        (encoder, 0),
    ]
    key = FeatureCache(encoder, -1, tmp_path).key
    keys = {FeatureCache(one, layer, tmp_path).key for one, layer in others} | {key}
    for name in ("sha256", "configuration"):
        with monkeypatch.context() as patch:
            patch.setattr(encoder, name, "0" * 64)
            keys.add(FeatureCache(encoder, -1, tmp_path).key)
    assert len(keys) == len(others) + 3
    monkeypatch.setattr(encoder, "name", "another/name-of-the-same")
    assert FeatureCache(encoder, -1, tmp_path).key == key
    with pytest.raises(UsageError, match="has the layers 0 to 2 and -1, not 3"):
        FeatureCache(encoder, 3, tmp_path)


def test_the_digest_names_the_frames_in_their_order(encoder: Encoder, tmp_path: Path) -> None:
    clips = tiny.sounds(3)
    features = FeatureCache(encoder, -1, tmp_path).add(clips)
    assert features.digest == FeatureCache(encoder, -1, tmp_path).add(iter(clips)).digest
    renamed = [(clip + ".wav", waveform) for clip, waveform in clips]
    assert features.digest == FeatureCache(encoder, -1, tmp_path).add(renamed).digest
    others = [FeatureCache(encoder, 0, tmp_path).add(clips), features.of(["clip-0", "clip-1"])]
    others.append(features.of(["clip-1", "clip-0", "clip-2"]))
    assert len({features.digest, *(other.digest for other in others)}) == 4


def test_frames_stay_on_disk(encoder: Encoder, tmp_path: Path) -> None:
    maps = Path("/proc/self/maps")
    if not maps.is_file():
        pytest.skip("this system does not list what a process has mapped")
    features = FeatureCache(encoder, -1, tmp_path).add(tiny.sounds(2))
    assert str(tmp_path) not in maps.read_text()
    frames = features["clip-0"]
    assert maps.read_text().count(str(tiny.entries(tmp_path)[0].parent.parent)) >= 1
    del frames
    assert str(tmp_path) not in maps.read_text()


@pytest.mark.parametrize("batch_size", [1, 3])
def test_few_clips_are_held_however_many_there_are(encoder: Encoder, tmp_path: Path, batch_size: int) -> None:
    alive: set[int] = set()
    most = 0

    def streamed(n: int) -> Iterator[tuple[str, np.ndarray]]:
        nonlocal most
        for clip, waveform in tiny.sounds(n, samples=400):
            own = waveform.copy()
            alive.add(id(own))
            weakref.finalize(own, alive.discard, id(own))
            most = max(most, len(alive))
            yield clip, own
            del own

    for n in (20, 60):
        FeatureCache(encoder, 0, tmp_path / str(n), batch_size).add(streamed(n))
        assert most <= LOOK_AHEAD * batch_size + 1


def test_wrong_clips_are_named(encoder: Encoder, tmp_path: Path) -> None:
    cache = FeatureCache(encoder, -1, tmp_path)
    with pytest.raises(DataError, match=r"^clip b has 31\.0 s of sound"):
        cache.add([*tiny.sounds(1), ("b", np.zeros(31 * 16_000, np.float32))])
    with pytest.raises(DataError, match=r"^clip c has 0\.000 s of sound"):
        cache.add([("c", np.zeros(0, np.float32))])
    with pytest.raises(UsageError, match="clip a is there twice"):
        cache.add([("a", np.ones(500)), ("a", np.ones(600))])
    with pytest.raises(UsageError, match="batch_size is 0"):
        FeatureCache(encoder, -1, tmp_path, batch_size=0)


def test_an_encoder_that_is_trained_is_not_kept(encoder_folder: Callable[[str], Path], tmp_path: Path) -> None:
    encoder = load_encoder(str(encoder_folder("whisper")), device="cpu")
    with pytest.raises(UsageError, match="is being trained, its frames change"):
        FeatureCache(encoder.train(), -1, tmp_path)
    with pytest.raises(UsageError, match="is being trained, its frames change"):
        FeatureCache(encoder.eval().requires_grad_(True), -1, tmp_path)


def repaired(cache: FeatureCache, clips: Iterable[tuple[str, np.ndarray]]) -> tuple[Features, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        features = cache.add(clips)
    return features, [str(warning.message) for warning in caught]


def truncated(path: Path) -> None:
    changed(path, path.read_bytes()[:-100])


def empty(path: Path) -> None:
    changed(path, b"")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    changed(path, bytes(content))


def of_another(path: Path) -> None:
    changed(path, next(p for p in tiny.entries(path.parent.parent.parent) if p != path).read_bytes())


@pytest.mark.parametrize("damage", [truncated, empty, flipped, of_another])
def test_a_damaged_entry_is_made_again_with_one_warning(
    encoder: Encoder, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    clips = tiny.sounds(3)
    cache = FeatureCache(encoder, -1, tmp_path)
    features = cache.add(clips)
    before = {clip: features[clip].clone() for clip, _ in clips}
    path = tmp_path / cache.key / features.audio["clip-1"][:2] / f"{features.audio['clip-1']}.safetensors"
    damage(path)
    with pytest.raises(DataError, match="frames of clip clip-1 were changed while they were in use"):
        features["clip-1"]
    again, said = repaired(FeatureCache(encoder, -1, tmp_path), clips)
    assert len(said) == 1
    assert said[0].startswith(f"{path} is damaged (")
    assert "\n" not in said[0]
    assert all(torch.equal(again[clip], before[clip]) for clip in before)
    assert repaired(cache, clips)[1] == []


@settings(max_examples=40, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_no_damage_changes_a_frame(
    encoder: Encoder, tmp_path_factory: pytest.TempPathFactory, where: float, bit: int, cut: bool
) -> None:
    home = tmp_path_factory.mktemp("cache")
    clips = tiny.sounds(1)
    before = FeatureCache(encoder, -1, home).add(clips)["clip-0"].clone()
    [path] = tiny.entries(home)
    content = bytearray(path.read_bytes())
    at = int(where * len(content))
    if not cut:
        content[at] ^= 1 << bit
    changed(path, bytes(content[:at] if cut else content))
    assert torch.equal(repaired(FeatureCache(encoder, -1, home), clips)[0]["clip-0"], before)


def test_size_and_prune(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cached_encoders(tmp_path / "none") == []
    FeatureCache(encoder, -1, tmp_path).add(tiny.sounds(3))
    old = FeatureCache(encoder, 0, tmp_path)
    old.add(tiny.sounds(2))
    os.utime(tmp_path / old.key / "encoder.json", (0, time.time() - 10 * 86_400))
    larger, smaller = cached_encoders(tmp_path)
    assert (larger.layer, larger.entries, smaller.layer, smaller.entries) == (2, 3, 0, 2)
    assert larger.name == smaller.name == encoder.name
    assert larger.bytes == sum(path.stat().st_size for path in tiny.entries(tmp_path) if larger.key in str(path))
    words = json.loads((tmp_path / old.key / "encoder.json").read_text())
    assert words["encoder"] == encoder.title
    assert (words["weights"], words["how"]["context"]) == (encoder.sha256, "clip")

    assert prune(tmp_path, older_than_days=20) == 0
    assert prune(tmp_path, older_than_days=5) == smaller.bytes
    assert cached_encoders(tmp_path) == [larger]
    with pytest.raises(UsageError, match=r"nothing is cached of encoder 'whispr'"):
        prune(tmp_path, encoder="whispr")
    FeatureCache(encoder, 1, tmp_path).add(tiny.sounds(1))
    assert prune(tmp_path, encoder=larger.key) == larger.bytes
    assert [cached.layer for cached in cached_encoders(tmp_path)] == [1]
    prune(tmp_path, encoder=encoder.name)
    assert cached_encoders(tmp_path) == []


def test_use_keeps_an_encoder_from_being_old(encoder: Encoder, tmp_path: Path) -> None:
    cache = FeatureCache(encoder, -1, tmp_path)
    cache.add(tiny.sounds(2))
    os.utime(tmp_path / cache.key / "encoder.json", (0, 0))
    cache.add(tiny.sounds(1))
    assert prune(tmp_path, older_than_days=1) == 0


def test_frames_that_were_pruned_meanwhile_are_one_sentence(encoder: Encoder, tmp_path: Path) -> None:
    features = FeatureCache(encoder, -1, tmp_path).add(tiny.sounds(2))
    prune(tmp_path)
    with pytest.raises(DataError, match=r"frames of clip clip-0 were changed while they were in use .*start again"):
        features["clip-0"]
    assert len(FeatureCache(encoder, -1, tmp_path).add(tiny.sounds(2)).lengths) == 2
