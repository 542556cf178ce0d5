"""The shipped demo encoders are small, load by name, and hear how a clip of the demo corpus is spoken."""

import hashlib
import importlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emoser_lib.corpora import LABELS, load_corpus
from emoser_lib.corpora.generation import load_distributions
from emoser_lib.errors import DataError
from emoser_lib.systems.checkpoints.folders import SHIPPED, find_checkpoint
from emoser_lib.systems.hearing.encoders.encoder import FRAME_SAMPLES
from emoser_lib.systems.hearing.encoders.loading import load_encoder

KINDS = ("whisper", "wavlm", "wav2vec2", "emotion2vec")
LARGEST = 4_000_000


def loaded(kind, **options):
    if kind == "emotion2vec":
        pytest.importorskip("funasr", reason="needs FunASR: pip install 'emoser[emotion2vec]'")
    return load_encoder(f"emoser/demo-{kind}", device="cpu", **options)


@pytest.fixture(scope="module")
def corpus():
    return load_corpus("demo")


@pytest.fixture
def script(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "scripts"))
    return importlib.import_module("make_demo_encoders")


@pytest.fixture
def speech(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "scripts"))
    return importlib.import_module("demo_speech")


@pytest.fixture
def torch_settings():
    """The script sets these for its process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def needs_espeak():
    if shutil.which("espeak-ng") is None:
        pytest.skip("needs espeak-ng: `apt-get install espeak-ng` or `brew install espeak-ng`")


def test_all_four_are_small():
    folders = [SHIPPED / f"demo-{kind}" for kind in KINDS]
    assert sum(path.stat().st_size for folder in folders for path in folder.iterdir()) <= LARGEST


@pytest.mark.parametrize("kind", KINDS)
def test_folder_is_whole_and_the_readme_names_its_bytes(kind):
    folder = find_checkpoint(f"emoser/demo-{kind}", kind="encoder")
    assert folder == SHIPPED / f"demo-{kind}"
    files = {path.name: path for path in folder.iterdir()}
    assert files["model.safetensors"].stat().st_size <= 1_500_000
    config = json.loads(files["config.json"].read_text(encoding="utf-8"))
    assert config["model_type"] == kind
    assert "auto_map" not in config
    readme = files["README.md"].read_text(encoding="utf-8")
    digest = hashlib.sha256(files["model.safetensors"].read_bytes()).hexdigest()
    assert f"sha256 of model.safetensors: {digest}" in readme
    assert "Licence: MIT" in readme
    assert ("How loud a clip is it cannot hear" in readme) == (kind != "whisper")


@pytest.mark.parametrize("kind", ("wavlm", "wav2vec2"))
def test_normalises_as_the_large_ones_do(kind):
    encoder = loaded(kind)
    assert encoder.model.config.feat_extract_norm == "layer"
    assert encoder.model.config.do_stable_layer_norm
    assert encoder.extractor.do_normalize
    assert encoder.extractor.return_attention_mask


@pytest.mark.parametrize("context", ("clip", "window"))
def test_whisper_has_the_window_of_the_real_one(corpus, context):
    encoder = loaded("whisper", context=context)
    assert encoder.longest == 30.0
    assert encoder.encode([corpus.waveform(corpus.frame.id[0])])[0].isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_gives_fifty_frames_a_second_all_finite(corpus, kind):
    encoder = loaded(kind)
    assert not any(one.requires_grad for one in encoder.parameters())
    assert "script of this project" in encoder.title
    noise = np.random.default_rng(0).standard_normal(FRAME_SAMPLES * 50).astype(np.float32) * 0.1
    waveforms = [corpus.waveform(corpus.frame.id[0]), np.zeros(FRAME_SAMPLES * 50, dtype=np.float32), noise]
    for frames, waveform in zip(encoder.encode(waveforms, "all"), waveforms, strict=True):
        assert frames.shape == (encoder.layers, frames.shape[1], encoder.width)
        assert abs(frames.shape[1] - len(waveform) / FRAME_SAMPLES) <= 1.5
        assert frames.isfinite().all()


@pytest.mark.parametrize(
    ("kind", "least"), [("whisper", 0.65), ("wavlm", 0.55), ("wav2vec2", 0.55), ("emotion2vec", 0.55)]
)
def test_the_mean_frame_tells_the_emotions_of_the_demo_corpus(corpus, kind, least):
    encoder = loaded(kind)

    def means(ids):
        return np.stack([encoder.encode([corpus.waveform(one)])[0][-1].mean(dim=0).numpy() for one in ids])

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000))
    train, test = corpus.training(), corpus.test()
    probe.fit(means(train.id), list(train.label))
    predicted = probe.predict(means(test.id))
    score = f1_score(corpus.gold_labels(), predicted, average="macro", labels=list(LABELS), zero_division=0)
    assert score >= least


def test_speech_has_no_cue_and_no_clip_of_the_demo_corpus(speech, corpus):
    drawn = [speech.draw(np.random.default_rng([1, number])) for number in range(2000)]
    texts = {one["transcription"].lower() for one in drawn}
    assert not texts & {text.lower() for text in corpus.frame.transcription}
    cues = {cue for some in load_distributions().words.cues.values() for cue in some}
    assert not [text for text in texts if any(cue in text for cue in cues)]


def test_ways_of_speaking_are_wider_than_the_demo_corpus_and_independent(speech, corpus):
    drawn = [speech.draw(np.random.default_rng([2, number])) for number in range(3000)]
    ways = np.array([[one[name] for name in speech.PROSODY] for one in drawn])
    means, inner = load_distributions().mean_matrix(), np.sqrt(np.diag(load_distributions().covariance()))
    shares = corpus.frame.label.value_counts(normalize=True)[list(LABELS)].to_numpy()
    corpus_sd = np.sqrt(inner**2 + shares @ (means - shares @ means) ** 2)
    assert (ways.std(axis=0) > corpus_sd).all()
    # The rate alone depends a little on the sentence, which must keep to the bounds of duration.
    assert (np.abs(np.corrcoef(ways.T) - np.eye(4)) < 0.08).all()


def test_contour_finds_the_pitch_of_a_tone_and_silence(speech):
    time = np.arange(16_000) / 16_000
    tone = sum(np.sin(2 * np.pi * 210 * k * time) / k for k in range(1, 8)).astype(np.float32) * 0.05
    frames = speech.contour(np.concatenate([tone, np.zeros(8_000, dtype=np.float32)]), 190.0)
    assert frames.shape == (75, 3)
    assert np.allclose(frames[3:46, 0], 2 * np.log2(210 / 150), atol=0.03)
    assert frames[3:46, 1].all()
    assert not frames[55:, 1].any()
    assert frames[10, 2] > 0 > frames[60, 2]


def test_script_replaces_no_folder_but_a_models(script, tmp_path):
    (tmp_path / "demo-wavlm").mkdir()
    (tmp_path / "demo-wavlm" / "thesis.txt").touch()
    done = CliRunner().invoke(script.main, ["--out", str(tmp_path)])
    assert isinstance(done.exception, DataError)
    assert "would be replaced" in str(done.exception)
    assert (tmp_path / "demo-wavlm" / "thesis.txt").exists()


def test_without_espeak_the_script_says_how_to_get_it(root, tmp_path):
    command = [sys.executable, "scripts/make_demo_encoders.py", "--out", str(tmp_path)]
    environment = {"PATH": "", "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        "espeak-ng is not installed: `apt-get install espeak-ng` or `brew install espeak-ng`."
    )


@pytest.mark.slow
@pytest.mark.usefixtures("torch_settings")
@pytest.mark.parametrize("kind", KINDS)
def test_script_writes_a_folder_whole_and_the_same_each_time(script, tmp_path, kind):
    needs_espeak()
    shipped = loaded(kind)
    for name in ("one", "two"):
        (tmp_path / name / f"demo-{kind}").mkdir(parents=True)
        (tmp_path / name / f"demo-{kind}" / "config.json").touch()
        (tmp_path / name / f"demo-{kind}" / "left-over.txt").touch()
        options = ["--out", str(tmp_path / name), "--only", kind, "--clips", "24", "--steps", "2"]
        done = CliRunner().invoke(script.main, options)
        assert done.exit_code == 0, done.output
        assert "step 2: loss" in done.output
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name / f"demo-{kind}").iterdir()}
        for name in ("one", "two")
    )
    assert one == two
    assert "left-over.txt" not in one
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [f"demo-{kind}"]
    made = load_encoder(str(tmp_path / "one" / f"demo-{kind}"), device="cpu")
    shapes = {name: tensor.shape for name, tensor in shipped.state_dict().items()}
    assert {name: tensor.shape for name, tensor in made.state_dict().items()} == shapes
    config = (SHIPPED / f"demo-{kind}" / "config.json").read_bytes()
    assert one["config.json"] == config, "the script has changed since the encoder was made: run it again"
