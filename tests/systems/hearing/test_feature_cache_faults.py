"""The feature cache when processes meet, are killed, or find the disk full: nothing half, nothing lost."""

import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.hearing.encoders.loading import load_encoder
from emoser_lib.systems.hearing.feature_cache import FeatureCache, Features
from tests import tiny


@pytest.fixture(scope="module")
def encoder(encoder_folder: Callable[[str], Path]) -> Encoder:
    return load_encoder(str(encoder_folder("whisper")), device="cpu")


def repaired(cache: FeatureCache, clips: tiny.Clips) -> tuple[Features, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        features = cache.add(clips)
    return features, [str(warning.message) for warning in caught]


CHILD = """
import os, sys, time
from pathlib import Path
import numpy as np
from emoser_lib.errors import DataError
from emoser_lib.systems.hearing.encoders.loading import load_encoder
from emoser_lib.systems.hearing.feature_cache import FeatureCache
home, folder = Path(sys.argv[2]), sys.argv[1]
encoder = load_encoder(folder, device="cpu")
rng = np.random.default_rng(0)
clips = [(f"clip-{i}", rng.standard_normal(3_000 + 400 * i).astype(np.float32)) for i in range(12)]
"""
"""The clips of `tiny.sounds(12)` in a process of its own."""

COUNTED = """
encode = encoder.encode
def counted(waveforms, layer):
    with open(home / "log.txt", "a") as log:
        log.writelines(f"{len(one)}\\n" for one in waveforms)
    time.sleep(0.05)
    return encode(waveforms, layer)
encoder.encode = counted
print("ready", flush=True)
sys.stdin.readline()
FeatureCache(encoder, -1, home, batch_size=2).add(clips)
"""

STOPPED = """
FeatureCache(encoder, -1, home).add(clips[:3])
def stopped(_):
    print("writing", flush=True)
    time.sleep(600)
os.fsync = stopped
FeatureCache(encoder, -1, home).add(clips)
"""

FULL = """
try:
    FeatureCache(encoder, -1, home).add(clips)
except DataError as error:
    sys.exit(str(error))
"""


def child(code: str, folder: Path, home: Path, before: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", before + CHILD + code, str(folder), str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_of_two_processes_only_one_encodes_a_clip(
    encoder: Encoder, encoder_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [child(COUNTED, encoder_folder("whisper"), tmp_path) for _ in range(2)]
    for one in both:
        assert one.stdout and one.stdout.readline() == "ready\n"
    for one in both:
        assert one.stdin
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in both:
        assert one.communicate()[1] == ""
        assert one.returncode == 0
    clips = tiny.sounds(12)
    encoded = sorted(int(line) for line in (tmp_path / "log.txt").read_text().split())
    assert encoded == sorted(len(waveform) for _, waveform in clips)
    monkeypatch.setattr(encoder, "encode", tiny.never)
    features, said = repaired(FeatureCache(encoder, -1, tmp_path), clips)
    assert (len(features.lengths), said) == (12, [])


def test_a_kill_in_mid_write_leaves_nothing_half(
    encoder: Encoder, encoder_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    process = child(STOPPED, encoder_folder("whisper"), tmp_path)
    assert process.stdout and process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(tiny.entries(tmp_path)) == 3
    assert len(list(tmp_path.glob("*/*/.*.partial"))) == 1
    features, said = repaired(FeatureCache(encoder, -1, tmp_path), tiny.sounds(12))
    assert said == []
    for clip, waveform in tiny.sounds(12):
        assert torch.equal(features[clip], encoder.encode([waveform])[0])
    assert list(tmp_path.glob("**/.*.partial")) == []


def full_disk(encoder: Encoder, home: Path, process: subprocess.Popen[str]) -> None:
    """What holds after a process found the disk full: one sentence, and what was cached stays."""
    said = process.communicate(timeout=120)[1].strip()
    assert process.returncode == 1
    assert "\n" not in said
    assert re.search(rf"{home / FeatureCache(encoder, -1, home).key}\S* cannot be written \(.*EMOSER_CACHE", said)
    assert list(home.glob("**/.*.partial")) == []


def test_a_full_disk_is_one_sentence_and_loses_nothing(
    encoder: Encoder, encoder_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2_600, 2_600))\n"
    full_disk(encoder, tmp_path, child(FULL, encoder_folder("whisper"), tmp_path, before=limit))
    kept = tiny.entries(tmp_path)
    assert 0 < len(kept) < 12
    with monkeypatch.context() as patch:
        patch.setattr(encoder, "encode", tiny.never)
        FeatureCache(encoder, -1, tmp_path).add(tiny.sounds(len(kept)))
    assert repaired(FeatureCache(encoder, -1, tmp_path), tiny.sounds(12))[1] == []


def test_a_file_system_without_room(encoder: Encoder, encoder_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """A real one of 48 kB, in a mount namespace of its own."""
    own = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=48k tmpfs '{tmp_path}'"
    try:
        allowed = subprocess.run([*own, mount], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("needs a system that lets a user mount a file system in a namespace of its own")
    command = f"{mount} && exec '{sys.executable}' -c \"$CODE\" '{encoder_folder('whisper')}' '{tmp_path}'"
    process = subprocess.Popen(
        [*own, command],
        env=os.environ | {"CODE": CHILD + FULL},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    full_disk(encoder, tmp_path, process)
