"""The tokens of Qwen-Audio: a tiktoken vocabulary as a fast tokenizer, and prompts that no user text can break."""

import base64
import binascii
import re
from pathlib import Path

from tokenizers import normalizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter

from emoser_lib.corpora import absolute
from emoser_lib.errors import DataError

END_OF_TEXT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

PLACEHOLDER = "[[[AUDIO:modality]]]"
"""Stands for one vector of audio."""

AUDIO_START, AUDIO_END = "<audio>", "</audio>"

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Where the vocabulary's owner cuts text before pairs are merged; each digit on its own."""

_TASKS = (
    "startoftranscript startofanalysis translate transcribe caption keyword unknown en zh de es ko fr ja it zh_tr "
    "notimestamps sil timestamps"
)

_MORE_TASKS = (
    "caption_audiocaps caption_clotho audioset_ontology caption_plain itn wo_itn startofentityvalue endofentityvalue "
    "startofentitytype endofentitytype named_entity_recognition audio_grounding startofword endofword delim "
    "emotion_recognition music_description note_analysis pitch"
)

_LAST_TASKS = (
    "sonic instrument speaker_meta song_meta question answer choice scene event vocal_classification "
    "speech_understanding scenario action entities speech_edit"
)


def special_tokens() -> list[str]:
    """The 3,522 control tokens in the order of their ids, which follow the vocabulary's.

    >>> tokens = special_tokens()
    >>> len(tokens), tokens[:3], tokens[208], tokens[-2:]
    (3522, ['<|endoftext|>', '<|im_start|>', '<|im_end|>'], '[[[AUDIO:modality]]]', ['<audio>', '</audio>'])
    """
    in_bars = [
        *_TASKS.split(),
        *(f"{hundredth / 100:.2f}" for hundredth in range(3001)),
        *_MORE_TASKS.split(),
        *(f"midi_pitch_{number}" for number in range(128)),
        "velocity",
        *(f"midi_velocity_{number}" for number in range(128)),
        *_LAST_TASKS.split(),
    ]
    extra = [f"<|extra_{number}|>" for number in range(205)]
    first = [END_OF_TEXT, IM_START, IM_END, *extra, PLACEHOLDER]
    return [*first, *(f"<|{name}|>" for name in in_bars), AUDIO_START, AUDIO_END]


def tokenizer_from(tiktoken_file: str | Path) -> PreTrainedTokenizerFast:
    """A fast tokenizer from a vocabulary in tiktoken's format.

    It writes composed letters (NFC) before it cuts, and it knows control tokens in text: `user_tokens` does not.

    Args:
        tiktoken_file: a line a token: its bytes in base 64, a space, its rank.

    Raises:
        DataError: the file is not there or not a vocabulary.
    """
    path = absolute(tiktoken_file)
    tokens = special_tokens()
    backend = _Converter(str(path), PATTERN, extra_special_tokens=tokens).converted()
    backend.normalizer = normalizers.NFC()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=END_OF_TEXT,
        eos_token=IM_END,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def user_tokens(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """The ids of text from a stranger: control tokens in it are letters like any other, the two audio tags apart.

    Args:
        tokenizer: from `tokenizer_from`.
        text: of any kind.
    """
    ids: list[int] = []
    for part in re.split(f"({re.escape(AUDIO_START)}|{re.escape(AUDIO_END)})", text):
        is_text = part not in (AUDIO_START, AUDIO_END)
        ids += tokenizer(part, add_special_tokens=False, split_special_tokens=is_text)["input_ids"]
    return ids


class _Converter(TikTokenConverter):
    """The library's, with a reader of our own: tiktoken's wants its package, and keeps copies of what it once read."""

    @staticmethod
    def load_tiktoken_bpe(tiktoken_url: str) -> dict[bytes, int]:
        return read_ranks(Path(tiktoken_url))


def read_ranks(path: Path) -> dict[bytes, int]:
    """Token -> rank.

    Raises:
        DataError: see `tokenizer_from`.
    """
    ranks: dict[bytes, int] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): download it from where the weights are.") from None
    for number, line in enumerate(filter(None, lines), start=1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise DataError(f"{path} is damaged in line {number}: download it again.") from None
    if sorted(ranks.values()) != list(range(len(ranks))) or not all(bytes([byte]) in ranks for byte in range(256)):
        raise DataError(f"{path} is not whole: ranks or single bytes are missing, download it again.")
    return ranks
