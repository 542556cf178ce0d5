"""Checkpoints that come as pickles: read once, by checksum, whole or not at all, with nothing in them executed."""

import copy
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from emoser_lib.errors import DataError, UsageError
from emoser_lib.systems.checkpoints import convert
from emoser_lib.systems.checkpoints.convert import PINNED, convert_encoder
from emoser_lib.systems.hearing.encoders.loading import load_encoder
from tests import tiny

Folders = Callable[[str], Path]
CLIP = np.random.default_rng(0).standard_normal(5_000).astype(np.float32)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pickled(folder: Path, target: Path, rename: Callable[[str], str] = str, **more: torch.Tensor) -> Path:
    """A transformers folder as the hub has old ones: weights in pytorch_model.bin, under the names of then."""
    shutil.copytree(folder, target)
    tensors = load_file(target / "model.safetensors")
    (target / "model.safetensors").unlink()
    torch.save({rename(name): tensor for name, tensor in tensors.items()} | more, target / "pytorch_model.bin")
    return target / "pytorch_model.bin"


def old_name(name: str) -> str:
    return name.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"
    )


@pytest.fixture
def wavlm(encoder_folder: Folders, tmp_path: Path) -> Path:
    return pickled(encoder_folder("wavlm"), tmp_path / "source", old_name)


@pytest.fixture
def emotion2vec(encoder_folder: Folders, tmp_path: Path) -> Path:
    """emotion2vec as its authors give it: fairseq's wrapping and FunASR's configuration."""
    source = tmp_path / "source"
    source.mkdir()
    conf = copy.deepcopy(tiny.EMOTION2VEC)
    conf["modalities"]["audio"]["decoder"] = {"decoder_dim": 8}
    text = yaml.safe_dump({"model": "Emotion2vec", "model_conf": conf})
    assert "norm_eps: 1.0e-05" in text
    (source / "config.yaml").write_text(text.replace("1.0e-05", "1e-05"))  # a text for PyYAML, as in theirs
    tensors = load_file(encoder_folder("emotion2vec") / "model.safetensors")
    more = {"_ema": torch.ones(2), "modality_encoders.AUDIO.decoder.proj.weight": torch.ones(2)}
    torch.save({"args": None, "model": tensors | more}, source / "emotion2vec_base.pt")
    return source / "emotion2vec_base.pt"


@pytest.mark.parametrize("kind", ["wavlm", "wav2vec2"])
def test_old_names_of_weights_are_understood(encoder_folder: Folders, tmp_path: Path, kind: str) -> None:
    weights = pickled(encoder_folder(kind), tmp_path / "source", old_name)
    assert any(name.endswith("weight_g") for name in torch.load(weights))
    done = convert_encoder(weights, tmp_path / "models" / "dest", sha256=sha256(weights))
    assert sorted(path.name for path in done.folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "whole.json",
    ]
    assert done.sha256 == sha256(done.folder / "model.safetensors")
    made, given = (load_encoder(str(folder), device="cpu") for folder in (done.folder, encoder_folder(kind)))
    assert torch.equal(made.encode([CLIP])[0], given.encode([CLIP])[0])


def test_a_pretraining_model_gives_its_encoder(encoder_folder: Folders, tmp_path: Path) -> None:
    weights = pickled(
        encoder_folder("wav2vec2"),
        tmp_path / "source",
        lambda name: f"wav2vec2.{old_name(name)}",
        **{"project_q.weight": torch.ones(2, 2)},
    )
    done = convert_encoder(weights.parent, tmp_path / "dest", sha256=sha256(weights).upper())
    made, given = (load_encoder(str(folder), device="cpu") for folder in (done.folder, encoder_folder("wav2vec2")))
    assert torch.equal(made.encode([CLIP])[0], given.encode([CLIP])[0])


def test_emotion2vec_leaves_its_pretraining_behind(encoder_folder: Folders, emotion2vec: Path, tmp_path: Path) -> None:
    done = convert_encoder(emotion2vec, tmp_path / "dest", sha256=sha256(emotion2vec))
    assert done.left_out == ("_ema", "modality_encoders.AUDIO.decoder.proj.weight")
    assert json.loads((done.folder / "config.json").read_text())["model_conf"]["norm_eps"] == 1e-5
    made, given = (load_encoder(str(folder), device="cpu") for folder in (done.folder, encoder_folder("emotion2vec")))
    assert torch.equal(made.encode([CLIP])[0], given.encode([CLIP])[0])


def test_a_pinned_checkpoint_needs_no_sha256(wavlm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(PINNED["microsoft/wavlm-large"]) == 64
    with pytest.raises(DataError, match=f"has the sha256 {sha256(wavlm)}, not {PINNED['microsoft/wavlm-large']}"):
        convert_encoder(wavlm, tmp_path / "dest", name="microsoft/wavlm-large")
    monkeypatch.setattr(convert, "PINNED", {"microsoft/wavlm-large": sha256(wavlm)})
    assert convert_encoder(wavlm, tmp_path / "a", name="microsoft/wavlm-large").source_sha256 == sha256(wavlm)
    assert convert_encoder(wavlm, tmp_path / "b").source_sha256 == sha256(wavlm)  # known by its bytes
    with pytest.raises(UsageError, match="no sha256 is pinned for facebook/wav2vec2-large-robust: give the one its"):
        convert_encoder(wavlm, tmp_path / "c", name="facebook/wav2vec2-large-robust")
    with pytest.raises(DataError, match=f"not {'0' * 64}"):
        convert_encoder(wavlm, tmp_path / "c", name="microsoft/wavlm-large", sha256="0" * 64)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, r"no sha256 is pinned for pytorch_model\.bin: give the one its publisher states with --sha256"),
        ({"sha256": "abc"}, "'abc' is not a sha256"),
        ({"name": "microsoft/wavlm-larg"}, "did you mean 'microsoft/wavlm-large'"),
    ],
)
def test_wrong_usage_is_one_sentence(wavlm: Path, tmp_path: Path, options: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        convert_encoder(wavlm, tmp_path / "dest", **options)
    assert not (tmp_path / "dest").exists()


def test_a_destination_that_is_there_stays(wavlm: Path, tmp_path: Path) -> None:
    (tmp_path / "dest").mkdir()  # empty: taken
    done = convert_encoder(wavlm, tmp_path / "dest", sha256=sha256(wavlm))
    before = sha256(done.folder / "model.safetensors")
    with pytest.raises(UsageError, match="dest is a whole checkpoint already: name a new folder"):
        convert_encoder(wavlm, tmp_path / "dest", sha256=sha256(wavlm))
    assert sha256(done.folder / "model.safetensors") == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="file is there already"):
        convert_encoder(wavlm, tmp_path / "file", sha256=sha256(wavlm))
    with pytest.raises(UsageError, match="nowhere is not there: name one"):
        convert_encoder(tmp_path / "nowhere", tmp_path / "new", sha256=sha256(wavlm))
    shutil.copy(wavlm, wavlm.with_name("other.pt"))
    with pytest.raises(UsageError, match="has 2 files of weights: name one"):
        convert_encoder(wavlm.parent, tmp_path / "new", sha256=sha256(wavlm))


class Bomb:
    """What a pickle can do."""

    def __init__(self, where: Path) -> None:
        self.where = where

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.where),)


def cut(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-1_000])


def garbage(weights: Path) -> None:
    weights.write_bytes(b"<!DOCTYPE html><html>404</html>")


def without_a_tensor(weights: Path) -> None:
    tensors = torch.load(weights)
    torch.save({name: tensor for name, tensor in tensors.items() if "layers.1" not in name}, weights)


def no_tensors(weights: Path) -> None:
    torch.save({"epoch": 3}, weights)


def with_code(weights: Path) -> None:
    torch.save(torch.load(weights) | {"bomb": Bomb(weights.with_name("ran"))}, weights)


def another_model(weights: Path) -> None:
    path = weights.with_name("config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "llama"}))


def without_preprocessor(weights: Path) -> None:
    weights.with_name("preprocessor_config.json").unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, r"pytorch_model\.bin cannot be read as tensors only"),
        (garbage, r"pytorch_model\.bin cannot be read as tensors only"),
        (with_code, r"pytorch_model\.bin cannot be read as tensors only"),
        (no_tensors, "does not hold tensors by name"),
        (without_a_tensor, r"pytorch_model\.bin lacks \d+ of the model's tensors"),
        (another_model, "is of a llama, not of a wavlm"),
        (without_preprocessor, r"preprocessor_config\.json is not there: download it"),
    ],
)
def test_a_source_that_is_not_whole_is_one_sentence(
    wavlm: Path, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    damage(wavlm)
    before = {path.name for path in wavlm.parent.iterdir()}
    with pytest.raises(DataError, match=said) as caught:
        convert_encoder(wavlm, tmp_path / "models" / "dest", sha256=sha256(wavlm))
    assert "\n" not in str(caught.value)
    assert {path.name for path in wavlm.parent.iterdir()} == before  # nothing ran
    assert not [path for path in tmp_path.glob("models/*") if path.is_dir()]


def test_emotion2vec_by_halves_is_refused(emotion2vec: Path, tmp_path: Path) -> None:
    content = torch.load(emotion2vec)
    torch.save({"model": dict(list(content["model"].items())[3:])}, emotion2vec)
    with pytest.raises(DataError, match=r"emotion2vec_base\.pt lacks 3 of the model's tensors"):
        convert_encoder(emotion2vec, tmp_path / "dest", sha256=sha256(emotion2vec))
    (emotion2vec.parent / "config.yaml").write_text("model_conf: [")
    with pytest.raises(DataError, match=r"config\.yaml does not make an emotion2vec"):
        convert_encoder(emotion2vec, tmp_path / "dest", sha256=sha256(emotion2vec))
    assert not (tmp_path / "dest").exists()


def test_a_full_disk_leaves_nothing(wavlm: Path, tmp_path: Path) -> None:
    code = (
        "import resource, sys\n"
        "from emoser_lib.errors import DataError\n"
        "from emoser_lib.systems.checkpoints.convert import convert_encoder\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: convert_encoder(sys.argv[1], sys.argv[2], sha256=sys.argv[3])\n"
        "except DataError as error: sys.exit(str(error))\n"
    )
    command = [sys.executable, "-c", code, str(wavlm), str(tmp_path / "models/dest"), sha256(wavlm)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"{tmp_path}/models/dest cannot be written (" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not [path for path in (tmp_path / "models").iterdir() if path.is_dir()]


def test_what_a_killed_conversion_left_is_swept(wavlm: Path, tmp_path: Path) -> None:
    (tmp_path / ".dest.partial").mkdir()
    (tmp_path / ".dest.partial/model.safetensors").write_text("half")
    convert_encoder(wavlm, tmp_path / "dest", sha256=sha256(wavlm))
    assert not (tmp_path / ".dest.partial").exists()
