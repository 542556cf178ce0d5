"""Folders that are no checkpoints, or damaged, or made to do harm: one sentence each, no code run, no memory taken."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from emoser_lib.errors import EmoserError
from emoser_lib.systems.prompts.text import TAG, Prompt
from emoser_lib.systems.reading.llm import load_llm
from tests.command import emoser
from tests.systems.checkpoints.test_folders import make

pytestmark = pytest.mark.timeout(60)

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

Damage = Callable[[Path], object]


def text(name: str, content: str | bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def changed(name: str, **values: Any) -> Damage:
    def damage(folder: Path) -> None:
        known = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(known | values))

    return damage


def config(**values: Any) -> Damage:
    return changed("config.json", **values)


def tokenizer(**values: Any) -> Damage:
    return changed("tokenizer_config.json", **values)


def header(length: int, content: bytes) -> Damage:
    return text(WEIGHTS, struct.pack("<Q", length) + content)


def tensor(shape: list[int], end: int, kind: str = "F32") -> Damage:
    content = json.dumps({"a": {"dtype": kind, "shape": shape, "data_offsets": [0, end]}}).encode()
    return header(len(content), content + b"aaaa")


def tensors(change: Callable[[str, torch.Tensor], tuple[str, torch.Tensor]]) -> Damage:
    def damage(folder: Path) -> None:
        weights = dict(change(name, value) for name, value in load_file(folder / WEIGHTS).items())
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})

    return damage


def index(content: str) -> Damage:
    return lambda folder: ((folder / WEIGHTS).unlink(), (folder / INDEX).write_text(content))


CODE = {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"}
CONFIGURATIONS = (
    *("", "[]", "null", "1", '"a"', "{", "[" * 3000, b"\xff\xfe{", "{}"),
    *('{"model_type": NaN}', '{"model_type": ["llama"]}'),
)
PLANNED = (
    *("model type t5", "model type 1", "code", 'index {"weight_map": {"a": 1}}'),
    *("width 1000000000", "vocabulary 1000000000000"),
)
"""What a plan meets too, as it builds the model without weights."""
DAMAGES: dict[str, Damage] = {
    **{f"configuration {content[:24]!r}": text("config.json", content) for content in CONFIGURATIONS},
    **{f"model type {kind}": config(model_type=kind) for kind in
       (None, 1, "mine", "t5", "bert", "clip", "whisper", "qwen", "emotion2vec", "../llama", "gpt2")},
    "code": config(model_type="mine", auto_map=CODE),
    "code of the tokenizer": tokenizer(auto_map={"AutoTokenizer": ["mine.T", None]}, tokenizer_class="T"),
    **{f"width {width}": config(hidden_size=width) for width in ("8", 0, -1, None, 8.5, 16, 10**9)},
    **{f"layers {layers}": config(num_hidden_layers=layers) for layers in ("2", -1, 0, 1, None, 3, 1.5)},
    **{f"heads {heads}": config(num_attention_heads=heads) for heads in (0, 3, "2")},
    "no keys": config(num_key_value_heads=0),
    **{f"vocabulary {size}": config(vocab_size=size) for size in (1, "9", 10**12)},
    "activation": config(hidden_act="nope"),
    "positions": config(rope_parameters="x"),
    "epsilon": config(rms_norm_eps="x"),
    "precision": config(dtype="nope"),
    "quantised": config(quantization_config={"quant_method": "gptq"}),
    "quantised otherwise": config(quantization_config="x"),
    "padding": config(pad_token_id=10**9),
    "attention": config(_attn_implementation="nope"),
    "labels": config(id2label={"a": "b"}),
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "weights that are a folder": lambda folder: ((folder / WEIGHTS).unlink(), (folder / WEIGHTS).mkdir()),
    "empty weights": text(WEIGHTS, b""),
    "weights that are a page": text(WEIGHTS, "<!DOCTYPE html><html>404</html>"),
    "weights that are a pickle": text(WEIGHTS, b"\x80\x04cposix\nsystem\nX\x04\0\0\0idle\x85R."),
    "a header without an end": header(100, b""),
    "a header of exabytes": header(2**62, b"{}"),
    "a header of gigabytes": header(2**31, b"{}"),
    "a header that is no JSON": header(5, b"{{{{{"),
    "a header of nothing": header(2, b"{}"),
    "a tensor of terabytes": tensor([2**20, 2**20], 2**42),
    "a tensor that overflows": tensor([2**62, 2**62], 4),
    "a tensor of no known kind": tensor([1], 4, "X9"),
    "a tensor of another model": tensor([1], 4),
    "weights that are no numbers": tensors(lambda name, value: (name, value * float("nan"))),
    "weights of other names": tensors(lambda name, value: (f"x.{name}", value)),
    "weights of other shapes": tensors(lambda name, value: (name, torch.zeros(3))),
    "adapter": text("adapter_config.json", "{}"),
    **{f"index {content}": index(content) for content in
       ("[]", "{", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', '{"weight_map": {"a": "../../x.safetensors"}}')},
    **{f"tokenizer {content!r}": text("tokenizer.json", content) for content in ("", "{}", "null", "[", b"\xff")},
    **{f"tokenizer's settings {content!r}": text("tokenizer_config.json", content) for content in ("[]", "{", b"\xff")},
    "tokenizer's class": tokenizer(tokenizer_class=1),
    "tokenizer's token": tokenizer(bos_token=5),
    "tokenizer's tokens": tokenizer(extra_special_tokens="x"),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("whole") / "mine")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "mine"))


@pytest.mark.parametrize("what", DAMAGES)
def test_it_is_one_sentence(what: str, folder: Path) -> None:
    (folder / "mine.py").write_text("raise SystemExit('code of a checkpoint was run')")
    DAMAGES[what](folder)
    with pytest.raises(EmoserError) as caught:
        load_llm(str(folder))
    said = str(caught.value)
    assert str(folder) in said and "\n" not in said and len(said) < 1000 and said.endswith(".")
    if any(words in what for words in ("type t5", "clip", "code", "type mine")):
        assert "again" not in said  # to download it again would not help


@pytest.mark.parametrize("what", PLANNED)
def test_a_plan_refuses_it_too(what: str, folder: Path) -> None:
    DAMAGES[what](folder)
    done = emoser("plan", "05-gemma-lora", "-p", "llm", str(folder))
    assert (done.returncode in (1, 2), done.stdout) == (True, ""), done.stderr
    assert "emoser: " in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


TEMPLATES = {
    "syntax": "{% for %}",
    "raises": "{{ raise_exception('no\nsystem') }}",
    "undefined": "{{ a.b.c }}",
    "beyond the end": "{{ messages[5].content }}",
    "by zero": "{{ 1 / 0 }}",
    "out of the sandbox": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "file": "{% include '/etc/passwd' %}",
    "endless": "{% for i in range(99999999999) %}a{% endfor %}",
    "calls itself": "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "no string": 5,
    "without the prompt": "hello",
    "the prompt twice": "{{ messages[0].content }}{{ messages[0].content }}",
}


@pytest.mark.parametrize("what", TEMPLATES)
def test_a_chat_template_that_fails_is_one_sentence(what: str, folder: Path) -> None:
    tokenizer(chat_template=TEMPLATES[what])(folder)
    with pytest.raises(EmoserError, match=r"chat template .*use chat='plain'|cannot be loaded") as caught:
        Prompt(f"Which? {TAG}", "en", (), "a test").encode(load_llm(str(folder)).tokenizer, ["hola"], "own")
    assert "\n" not in str(caught.value)
