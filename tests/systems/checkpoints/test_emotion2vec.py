"""emotion2vec: its configuration is read and never run, its weights are whole, its mask is the right way round."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from emoser_lib.errors import DataError
from emoser_lib.systems.checkpoints.emotion2vec import load_emotion2vec, read_encoder_spec
from emoser_lib.systems.hearing.encoders.emotion2vec import Emotion2vecFrames
from emoser_lib.systems.hearing.encoders.loading import load_encoder

CPU = torch.device("cpu")
CONVOLUTION = st.tuples(st.integers(1, 512), st.integers(1, 10), st.integers(1, 5))


@pytest.fixture
def folder(encoder_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(encoder_folder("emotion2vec"), tmp_path / "emotion2vec"))


@given(
    parts=st.lists(st.tuples(st.lists(CONVOLUTION, min_size=1, max_size=3), st.integers(1, 4)), min_size=1, max_size=4)
)
def test_lists_of_numbers_are_read_as_python_reads_them(parts: list[tuple[list[tuple[int, int, int]], int]]) -> None:
    written = " + ".join(f"{layers}*{times}" for layers, times in parts)
    assert read_encoder_spec(written) == [layer for layers, times in parts for layer in layers * times]


@pytest.mark.parametrize(
    "spec",
    [
        "__import__('os').system('true')",
        "[(512, 10, 5)] + open('x').readlines()",
        "[(512, 10, (lambda: 5)())]",
        "[(512, 10, 5) for _ in (1, 2)]",
        "[(512, 10, 5)] * 10 ** 9",
        "[(512, 10, 5)] * 999999999",
        "[[(512, 10, 5)] * 60] * 60",
        "[(512, 10, 5)] + ([(512, 3, 2)] * 60 + [(512, 3, 2)] * 60)",
        "[(512, 10, 5)][0:1]",
        "[(512, 10)]",
        "[(512, 10, 0)]",
        "[(512, 10, -5)]",
        "[(512, 10, True)]",
        "[(512, 10, 5.0)]",
        "(512, 10, 5)",
        "[]",
        "",
        "x",
        "(" * 5_000,
        "[(512, 10, 5)]; print()",
    ],
)
def test_anything_else_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="feature_encoder_spec"):
        read_encoder_spec(spec)


def change(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "config.json"
    configuration = json.loads(path.read_text())
    edit(configuration["model_conf"])
    path.write_text(json.dumps(configuration))


def test_a_configuration_is_never_executed(folder: Path, tmp_path: Path) -> None:
    spec = f"[(16,10,5)] + [(16,3,2)]*4 + [(16,2,2)]*2 + list(map(__import__('os').mkdir, ['{tmp_path / 'ran'}']))"
    change(folder, lambda conf: conf["modalities"]["audio"].update(feature_encoder_spec=spec))
    with pytest.raises(DataError, match=r"config\.json does not make an emotion2vec \(Call in feature_encoder_spec\)"):
        load_encoder(str(folder), device="cpu")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda conf: conf.update(embed_dim="${oc.env:HOME}"), "refers to values outside itself"),
        (lambda conf: conf.pop("modalities"), "does not make an emotion2vec"),
        (lambda conf: conf.update(norm_eps="small"), "norm_eps is not a number"),
        (lambda conf: conf["modalities"]["audio"].pop("prenet_depth"), "does not make an emotion2vec"),
        (lambda conf: conf.update(depth=3), r"lacks \d+ of the model's tensors, such as blocks\.2\."),
        (lambda conf: conf.update(depth=1), r"has too many \d+ of the model's tensors, such as blocks\.1\."),
        (lambda conf: conf.update(mlp_ratio=4.0), r"has with another shape \d+ of the model's tensors"),
    ],
)
def test_a_configuration_that_does_not_fit_is_one_sentence(
    folder: Path, edit: Callable[[dict[str, Any]], None], said: str
) -> None:
    change(folder, edit)
    with pytest.raises(DataError, match=said) as caught:
        load_encoder(str(folder), device="cpu")
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_are_whole_or_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, path)
    with pytest.raises(DataError, match=f"lacks 1 of the model's tensors, such as {name}: convert or download"):
        load_emotion2vec(folder, CPU, torch.float32)
    save_file(tensors | {"more": torch.ones(1)}, path)
    with pytest.raises(DataError, match="has too many 1 of the model's tensors, such as more"):
        load_emotion2vec(folder, CPU, torch.float32)


def test_it_is_loaded_in_the_precision_that_is_asked_for(folder: Path) -> None:
    assert next(load_encoder(str(folder), device="cpu", dtype="bfloat16").parameters()).dtype == torch.bfloat16


def test_without_funasr_the_extra_is_named(folder: Path) -> None:
    code = (
        "import sys; sys.modules['funasr'] = None\n"  # as where it is not installed
        "from emoser_lib.errors import UsageError\n"
        "from emoser_lib.systems.hearing.encoders.loading import load_encoder\n"
        "try: load_encoder(sys.argv[1], device='cpu')\n"
        "except UsageError as error: sys.exit(str(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert "install the extra with `pip install 'emoser[emotion2vec]'`" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_loading_says_nothing(folder: Path) -> None:
    code = (
        "import logging, sys\n"
        "from emoser_lib.systems.hearing.encoders.loading import load_encoder\n"
        "load_encoder(sys.argv[1], device='cpu')\n"
        "logging.getLogger('any').info('heard')\n"
        "assert not logging.getLogger().handlers\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, env=env, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_frames_are_those_of_funasr(folder: Path) -> None:
    encoder = load_encoder(str(folder), device="cpu")
    assert isinstance(encoder, Emotion2vecFrames)
    clip = np.random.default_rng(0).standard_normal(8_000).astype(np.float32)
    source = torch.from_numpy(clip)
    with torch.no_grad():
        theirs = encoder.model.extract_features(torch.nn.functional.layer_norm(source, source.shape)[None])["x"][0]
    [ours] = encoder.encode([clip], "all")
    assert torch.equal(ours[-1], theirs)
    assert ours.shape == (3, (8_000 - 400) // 320 + 1, 32)


def test_a_longer_clip_leaves_nothing_behind(folder: Path) -> None:
    """FunASR keeps position biases from one clip to the next."""
    encoder = load_encoder(str(folder), device="cpu")
    rng = np.random.default_rng(0)
    short, long = (rng.standard_normal(n).astype(np.float32) for n in (4_000, 40_000))
    [before] = encoder.encode([short])
    encoder.encode([long])
    [after] = encoder.encode([short])
    assert torch.equal(before, after)


class Masks:
    """A clip of 1.5 s in a batch beside one of 2 s, with either mask; nothing is normalised over the padding."""

    PADDED, REAL = 32_000, 24_000
    FRAMES = (REAL - 400) // 320 + 1

    def __init__(self, folder: Path) -> None:
        encoder = load_encoder(str(folder), device="cpu")
        assert isinstance(encoder, Emotion2vecFrames)
        self.encoder = encoder
        self.values = torch.from_numpy(np.random.default_rng(0).standard_normal((2, self.PADDED)).astype(np.float32))
        self.values[1, self.REAL :] = 0
        self.padding = torch.zeros(2, self.PADDED, dtype=torch.bool)
        self.padding[1, self.REAL :] = True

    @torch.no_grad()
    def short(self, mask: Tensor | None, values: Tensor | None = None) -> Tensor:
        """Frames of the short clip's real audio."""
        states, _ = self.encoder.run(self.values if values is None else values, mask)
        return states[-1][1, : self.FRAMES]

    @torch.no_grad()
    def alone(self) -> Tensor:
        states, _ = self.encoder.run(self.values[1:, : self.REAL])
        return states[-1][0]


@pytest.fixture
def masks(encoder_folder: Callable[[str], Path]) -> Masks:
    return Masks(encoder_folder("emotion2vec-plain"))


def test_with_the_right_mask_frames_change_near_the_padding_only(masks: Masks) -> None:
    change = (masks.short(masks.padding) - masks.alone()).abs().amax(dim=1)
    near = 8  # frames: two positional convolutions of 4 frames to each side
    assert change[-near:].max() > 10 * change[:-near].max()


def test_the_inverted_mask_hides_the_real_audio(masks: Masks) -> None:
    """What the released code of THAU-UPM did: True where there is sound, where the model expects True for padding.

    As many frames are heard as there is padding, from the clip's beginning; the rest of the clip is heard by none.
    """
    alone, right, inverted = masks.alone(), masks.short(masks.padding), masks.short(~masks.padding)
    assert (inverted - alone).abs().mean() > 5 * (right - alone).abs().mean()

    other = masks.values.clone()
    other[1, 16_000:20_000] *= -1  # real audio, from 1.0 to 1.25 s; 0.5 s are padding
    first = slice(0, 20)  # 0.4 s
    assert not torch.equal(masks.short(masks.padding, other)[first], right[first])
    assert torch.equal(masks.short(~masks.padding, other)[first], inverted[first])


@torch.no_grad()
def test_without_padding_the_inverted_mask_hides_the_last_frame(masks: Masks) -> None:
    """Also the longest clip of a batch does not stay what it is."""
    audio = masks.encoder.model.modality_encoders["AUDIO"]
    values, none = masks.values[:1], masks.padding[:1]
    hidden = audio.convert_padding_mask(audio.local_features(values), ~none)[0]
    assert hidden.tolist() == [False] * (len(hidden) - 1) + [True]
    [right, inverted] = [masks.encoder.run(values, mask)[0][-1] for mask in (none, ~none)]
    assert (right - inverted).abs().max() > 1e-3
    assert torch.equal(right, masks.encoder.run(values)[0][-1])
