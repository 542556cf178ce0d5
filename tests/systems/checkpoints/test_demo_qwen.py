"""The shipped Qwen-Audio is small, in the form of the first version, and answers in words before it is trained."""

import hashlib
import importlib
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from emoser_lib.corpora import load_corpus
from emoser_lib.experiments.settings.qwen_audio import QwenZeroShotSettings
from emoser_lib.experiments.training.qwen_audio import qwen_answers
from emoser_lib.systems.checkpoints.catalogue import DEMO_QWEN
from emoser_lib.systems.checkpoints.folders import SHIPPED, find_checkpoint
from emoser_lib.systems.qwen_audio import convert_qwen_audio, converted, load
from emoser_lib.systems.reading.answers import count_answers, parse_answer
from emoser_lib.systems.reading.zero_shot import Decoding

FOLDER = SHIPPED / "demo-qwen-audio-v1"


@pytest.fixture
def script(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(root / "scripts"))
    return importlib.import_module("make_demo_qwen")


def test_it_is_small_whole_and_as_published() -> None:
    assert find_checkpoint(DEMO_QWEN, "audio llm") == FOLDER
    files = {path.name: path for path in FOLDER.iterdir()}
    assert sum(path.stat().st_size for path in files.values()) <= 4_000_000
    assert json.loads(files["config.json"].read_text(encoding="utf-8"))["model_type"] == "qwen"
    digest = hashlib.sha256(b"".join(files[name].read_bytes() for name in sorted(files) if "model-" in name))
    readme = files["README.md"].read_text(encoding="utf-8")
    assert f"sha256 of its weights: {digest.hexdigest()}" in readme
    assert "Licence: MIT" in readme


def test_a_name_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSER_CACHE", str(tmp_path))
    first = converted(DEMO_QWEN)
    assert first.parent == tmp_path / "converted"
    made = (first / "config.json").stat().st_mtime_ns
    assert converted(DEMO_QWEN) == first
    assert (first / "config.json").stat().st_mtime_ns == made
    assert converted(str(first)) == first
    (first / "tokenizer.json").unlink()
    with pytest.warns(UserWarning, match=r"is not whole \(tokenizer.json is not there\): it is converted again"):
        assert converted(DEMO_QWEN) == first
    assert (first / "tokenizer.json").is_file()


@pytest.mark.slow
def test_it_answers_in_words_and_not_always_as_it_is_told(tmp_path: Path) -> None:
    convert_qwen_audio(FOLDER, tmp_path / "qwen")
    qwen, demo = load(tmp_path / "qwen", device="cpu", name=DEMO_QWEN), load_corpus("demo")
    given = {"transcript": True, "words": "nouns", "split": "train", "clips": 60, "batch_size": 20}
    settings = QwenZeroShotSettings.check(
        corpus="demo", seed=0, checkpoint=DEMO_QWEN, dtype="float32", max_new_tokens=16, resamples=100, **given
    )
    ids = list(settings.rows(demo)["id"])
    said = qwen_answers(qwen, settings.system(), demo, ids, Decoding(max_new_tokens=16), 20, tmp_path)
    kinds = count_answers(parse_answer(one, demo.labels, "lenient") for one in said)
    assert all(said), "an answer without a word"
    assert kinds["missing"] < len(ids) / 2, "mostly emotions"
    assert kinds["exact"] < len(ids), "it does not always follow the instruction"


@pytest.mark.slow
def test_the_script_makes_a_checkpoint_that_converts(script: ModuleType, tmp_path: Path) -> None:
    import torch

    if shutil.which("espeak-ng") is None:
        pytest.skip("needs espeak-ng: `apt-get install espeak-ng` or `brew install espeak-ng`")
    threads = torch.get_num_threads()
    out = tmp_path / "demo-qwen"
    done = CliRunner().invoke(script.main, ["--out", str(out), "--clips", "26", "--steps", "2"])
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    assert done.exit_code == 0, done.output
    convert_qwen_audio(out, tmp_path / "dest")
    qwen = load(tmp_path / "dest", device="cpu")
    assert isinstance(qwen.answer("¿Qué emoción?", max_new_tokens=3), str)
    assert qwen.encoder.width == qwen.language.config.hidden_size
