"""Checkpoints by name: found where they are put, refused in one sentence where they are not whole."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from emoser_lib.errors import DataError, UsageError
from emoser_lib.systems.checkpoints.catalogue import CHECKPOINTS
from emoser_lib.systems.checkpoints.folders import (
    BUNDLED,
    DEMO_LLM_FOLDER,
    DOWNLOADED,
    find_checkpoint,
    local_checkpoint,
    weights_files,
    weights_sha256,
)
from emoser_lib.systems.reading.llm import load_llm
from emoser_lib.systems.reading.packed_attention import PACKED

NAME = "google/gemma-2b"


def make(folder: Path, shard: str = "5GB") -> Path:
    """A tiny random checkpoint as `save_pretrained` writes it."""
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2)
    LlamaForCausalLM(config).half().save_pretrained(folder, max_shard_size=shard)
    words = {word: i for i, word in enumerate(["<unk>", "a", "b"])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMOSER_MODELS", str(tmp_path))
    return tmp_path


@pytest.fixture
def folder(home: Path) -> Path:
    return make(home / "google--gemma-2b")


def test_a_folder_named_after_a_checkpoint_is_that_checkpoint(
    folder: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    bars = logging.is_progress_bar_enabled(), logging.get_verbosity()
    assert find_checkpoint(NAME) == local_checkpoint(NAME) == folder
    capfd.readouterr()
    llm = load_llm(NAME)
    assert capfd.readouterr() == ("", "")  # no bars, no remarks in a notebook's output
    assert not recwarn.list
    assert bars == (logging.is_progress_bar_enabled(), logging.get_verbosity())
    assert llm.model.dtype == torch.float32
    assert llm.model.config._attn_implementation == PACKED
    assert not llm.model.training
    assert llm.tokenizer("b").input_ids == [2]
    assert llm.sha256 == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert llm.title == "gemma-2b (base)"


def test_a_folder_of_ones_own_and_another_dtype(tmp_path: Path) -> None:
    own = make(tmp_path / "my model")
    llm = load_llm(str(own), dtype="bfloat16")
    assert (llm.model.dtype, llm.note, llm.title) == (torch.bfloat16, "", "my model")


def test_the_hash_is_of_the_weights_alone_and_of_every_shard(tmp_path: Path) -> None:
    one, other, sharded = make(tmp_path / "one"), make(tmp_path / "other"), make(tmp_path / "sharded", "1KB")
    (other / "README.md").write_text("another text")
    assert weights_sha256(one) == weights_sha256(other)
    assert len(weights_files(sharded)) > 1
    before, last = weights_sha256(sharded), weights_files(sharded)[-1]
    assert load_llm(str(sharded)).sha256 == before
    tensors = {name: tensor + 1 for name, tensor in load_file(last).items()}
    save_file(tensors, last, metadata={"format": "pt"})
    assert weights_sha256(sharded) != before


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def only_bin(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without_a_layer(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(path).items() if "layers.1" not in name}
    save_file(tensors, path, metadata={"format": "pt"})


def with_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text("raise SystemExit('code of a checkpoint was run')")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "config.json").unlink(), "is not whole, config.json is not there: copy or download"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "is not whole, tokenizer.json is not there"),
        (lambda folder: (folder / "model.safetensors").unlink(), "it has no weights: convert or download them as"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json is not JSON: copy or download"),
        (only_bin, "its weights are in pytorch_model.bin, which is not read: convert or download"),
        (cut_short, "model.safetensors cannot be read .*copy or download the file again"),
        (without_a_layer, "lacks 9 of the model's tensors, such as model.layers.1.*download the whole of it again"),
        (with_code, "cannot be loaded .*"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(folder: Path, damage: Callable[[Path], object], sentence: str) -> None:
    damage(folder)
    with pytest.raises(DataError, match=sentence) as caught:
        load_llm(NAME)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_lost_shard_is_named(tmp_path: Path) -> None:
    own = make(tmp_path / "sharded", "1KB")
    lost = weights_files(own)[0]
    lost.unlink()
    with pytest.raises(DataError, match=f"is not whole, {lost.name} is not there"):
        find_checkpoint(str(own))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gogle/gemma-2b", r"there is no checkpoint 'gogle/gemma-2b' \(did you mean 'google/gemma-2b'\?\)"),
        ("google/gemma-1.1-2B-it", "did you mean 'google/gemma-1.1-2b-it'"),
        ("nobody/nothing", "there is no checkpoint 'nobody/nothing': known are emoser/demo-gemma"),
        ("gemma-2b", r"neither of the form org/name nor an absolute path \(did you mean 'google/gemma-2b'\?\)"),
        ("", "neither of the form org/name"),
        ("./models", "neither of the form org/name"),
        ("../models", "neither of the form org/name"),
        ("a/b/c", "neither of the form org/name"),
        ("/nowhere/at/all", "'/nowhere/at/all' is not a folder"),
        ("~nobody-of-this-name/x", "leads nowhere"),
    ],
)
def test_a_wrong_name_is_one_sentence(home: Path, name: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        find_checkpoint(name)


def test_wrong_dtype_and_device(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no dtype 'float23' \(did you mean 'float32'\?\)"):
        load_llm(NAME, dtype="float23")
    with pytest.raises(UsageError, match=r"dtype is 'float16', .* use bfloat16"):
        load_llm(NAME, dtype="float16")
    with pytest.raises(UsageError, match="there is no device 'gpu'"):
        load_llm("google/gemma-2b", device="gpu")  # before anything is downloaded
    with pytest.raises(UsageError, match="there is no device 'gpu'"):
        load_llm(NAME, device="gpu")


def test_every_known_checkpoint_has_what_a_download_needs() -> None:
    for name, facts in CHECKPOINTS.items():
        assert facts.licence
        assert facts.note
        if name in BUNDLED:
            continue
        assert facts.architecture["model_type"]
        if facts.revision is None:
            assert "converted from" in facts.note
        else:
            assert len(bytes.fromhex(facts.revision)) == 20


def test_a_download_takes_the_weights_once_and_no_pickle() -> None:
    offered = [
        "config.json",
        "model.safetensors",
        "model-00001-of-00002.safetensors",
        "model.fp32-00001-of-00002.safetensors",
        "pytorch_model.bin",
        "modeling_mine.py",
    ]
    assert list(filter_repo_objects(offered, allow_patterns=list(DOWNLOADED))) == offered[:3]


class Hub(BaseHTTPRequestHandler):
    """Answers every question as the hub does to someone who may not have the files."""

    def do_GET(self) -> None:
        self.send_response(int(self.server.status))  # type: ignore[attr-defined]
        if code := {403: "GatedRepo", 404: "RevisionNotFound"}.get(self.server.status):  # type: ignore[attr-defined]
            self.send_header("X-Error-Code", code)
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def ask_hub(home: Path, **environment: str) -> str:
    """`find_checkpoint` in a process of its own: where the hub is, is read at import."""
    code = f"from emoser_lib.systems.checkpoints.folders import find_checkpoint; find_checkpoint({NAME!r})"
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"), "")
    env = os.environ | proxies | {"HF_HOME": str(home / "hf"), "EMOSER_MODELS": str(home)} | environment
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (403, "is gated: accept the Gemma terms of use at https://huggingface.co/google/gemma-2b and log in"),
        (401, "is gated: accept the Gemma terms of use"),
        (404, "cannot be downloaded (404"),
    ],
)
def test_a_licence_that_was_not_accepted_is_one_sentence(
    home: Path, hub: HTTPServer, status: int, sentence: str
) -> None:
    hub.status = status  # type: ignore[attr-defined]
    said = ask_hub(home, HF_ENDPOINT=f"http://127.0.0.1:{hub.server_port}")
    assert said.startswith("emoser_lib.errors.DataError: ")
    assert sentence in said
    assert str(home / "google--gemma-2b") in said


def test_without_network_the_sentence_says_where_the_folder_goes(home: Path) -> None:
    said = ask_hub(home, HF_HUB_OFFLINE="1")
    assert f"is not at {home / 'google--gemma-2b'} and the Hugging Face hub cannot be reached" in said


def test_an_adapter_beside_the_weights_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(DEMO_LLM_FOLDER, folder)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(DataError, match=r"an adapter beside its weights \(adapter_config\.json\)"):
        load_llm(str(folder))
