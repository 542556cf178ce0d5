"""Qwen-Audio's tokens: as the original's, and no user text can be a control token."""

import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from emoser_lib.errors import DataError
from emoser_lib.systems.qwen_audio.chat import CHAT_TEMPLATE, prompt_ids
from emoser_lib.systems.qwen_audio.tokens import PATTERN, special_tokens, tokenizer_from, user_tokens
from tests import tiny

CONTROL = st.sampled_from(["<|im_start|>", "<|im_end|>", "<|endoftext|>", "[[[AUDIO:modality]]]", "<|0.00|>", "<|es|>"])
TEXT = (
    st.lists(st.text(st.characters(codec="utf-8"), max_size=12) | CONTROL, max_size=4)
    .map("".join)
    .filter(lambda text: not {"<audio>", "</audio>"} & set(re.findall("</?audio>", text)))  # these two are known
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    path = tmp_path_factory.mktemp("vocabulary") / "qwen.tiktoken"
    tiny.write_vocabulary(path)
    return tokenizer_from(path)


@pytest.mark.needs_fixtures
def test_the_ids_are_the_originals(tmp_path: Path) -> None:
    told = json.loads((tiny.qwen_fixtures() / "tokenizer/tokenizer_examples.json").read_text(encoding="utf-8"))
    assert special_tokens() == told["special_tokens_in_order"]
    assert told["pattern"] == PATTERN
    made = tokenizer_from(tiny.qwen_fixtures() / "tokenizer/qwen.tiktoken")
    assert made.convert_tokens_to_ids(special_tokens()[0]) == told["first_special_id"]
    made.save_pretrained(tmp_path)
    read = AutoTokenizer.from_pretrained(tmp_path)
    for text, ids in told["examples"]:
        for form in ("NFC", "NFD"):
            assert made(unicodedata.normalize(form, text))["input_ids"] == ids
        assert read(text)["input_ids"] == ids
    assert (read.pad_token, read.eos_token) == ("<|endoftext|>", "<|im_end|>")


def test_control_tokens_follow_the_ranks(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    ranks = tiny.write_vocabulary(tmp_path / "qwen.tiktoken")
    assert tokenizer("<|endoftext|></audio>")["input_ids"] == [ranks, ranks + 3521]
    assert len(tokenizer) == ranks + 3522


@given(said=TEXT)
def test_no_text_is_a_control_token(said: str, tokenizer: PreTrainedTokenizerFast) -> None:
    ids = user_tokens(tokenizer, said)
    first = len(tokenizer) - 3522
    assert all(token < first for token in ids)
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == unicodedata.normalize("NFC", said)


def test_the_audio_tags_are_known_in_text(tokenizer: PreTrainedTokenizerFast) -> None:
    before, tag, after = (user_tokens(tokenizer, part) for part in ("uno\n", "<audio>", " dos"))
    assert user_tokens(tokenizer, "uno\n<audio> dos") == [*before, *tag, *after]
    assert tag == [len(tokenizer) - 2]


@given(said=TEXT, audio=st.lists(st.integers(1, 4), max_size=3))
def test_a_prompt_has_its_own_control_tokens_only(
    said: str, audio: list[int], tokenizer: PreTrainedTokenizerFast
) -> None:
    ids = prompt_ids(tokenizer, said, audio)
    first = len(tokenizer) - 3522
    found = [token - first for token in ids if token >= first]
    places = [token for count in audio for token in (3520, *[208] * count, 3521)]
    assert found == [1, 2, 1, *places, 2, 1]


def test_the_prompt_is_the_chat(tokenizer: PreTrainedTokenizerFast) -> None:
    asked = "¿Qué emoción?\nUna palabra."
    written = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        "Audio 1:<audio>[[[AUDIO:modality]]]</audio>\nAudio 2:<audio>[[[AUDIO:modality]]]</audio>\n"
        f"{asked}<|im_end|>\n<|im_start|>assistant\n"
    )
    assert prompt_ids(tokenizer, asked, [1, 1]) == tokenizer(written)["input_ids"]
    tokenizer.chat_template = CHAT_TEMPLATE
    content = [{"type": "audio"}, {"type": "audio"}, {"type": "text", "text": asked}]
    messages = [{"role": "user", "content": content}]
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == written
    answered = [*messages, {"role": "assistant", "content": "joy"}, {"role": "user", "content": [{"type": "audio"}]}]
    assert tokenizer.apply_chat_template(answered, tokenize=False).endswith(
        "assistant\njoy<|im_end|>\n<|im_start|>user\nAudio 3:<audio>[[[AUDIO:modality]]]</audio>\n<|im_end|>\n"
    )


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda lines: lines[1:], "is not whole"),
        (lambda lines: [*lines[:7], "§ 7", *lines[8:]], "is damaged in line 8"),
        (lambda lines: [*lines, "IQ== 9999"], "is not whole"),
        (lambda lines: [*lines, "IQ=="], "is damaged in line"),
        (lambda lines: [], "is not whole"),
    ],
)
def test_a_damaged_vocabulary_is_refused(damage: object, says: str, tmp_path: Path) -> None:
    path = tmp_path / "qwen.tiktoken"
    tiny.write_vocabulary(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(damage(lines)))  # type: ignore[operator]
    with pytest.raises(DataError, match=says):
        tokenizer_from(path)


def test_a_vocabulary_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        tokenizer_from(tmp_path / "qwen.tiktoken")
