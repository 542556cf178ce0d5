"""Qwen-Audio's chat, from its owner's description: the recordings are numbered, then comes what is said to it."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerFast

from emoser_lib.systems.qwen_audio.tokens import AUDIO_END, AUDIO_START, IM_END, IM_START, PLACEHOLDER, user_tokens

SYSTEM = "You are a helpful assistant."

CHAT_TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' -%}"
    "{{ '<|im_start|>system\n" + SYSTEM + "<|im_end|>\n' }}"
    "{%- endif -%}"
    "{%- set audio = namespace(count=0) -%}"
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{%- if message['content'] is string -%}{{ message['content'] }}"
    "{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'audio' -%}{%- set audio.count = audio.count + 1 -%}"
    "{{ 'Audio ' + audio.count|string + ':<audio>[[[AUDIO:modality]]]</audio>\n' }}"
    "{%- elif part['type'] == 'text' -%}{{ part['text'] }}{%- endif -%}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{{ '<|im_end|>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
"""For ``apply_chat_template``; one placeholder a recording, to be repeated as often as it has vectors."""


def prompt_ids(tokenizer: PreTrainedTokenizerFast, text: str, audio: Sequence[int] = ()) -> list[int]:
    """A question as token ids, up to where the answer begins. No text can end its turn: see `user_tokens`.

    Args:
        tokenizer: from `tokenizer_from`.
        text: what is asked.
        audio: how many vectors each recording has; they come before the text.
    """
    named: list[int] = tokenizer.convert_tokens_to_ids(  # type: ignore[assignment]  # a list for a list
        [IM_START, IM_END, AUDIO_START, AUDIO_END, PLACEHOLDER]
    )
    start, end, first, last, place = named
    newline = user_tokens(tokenizer, "\n")
    ids = [start, *user_tokens(tokenizer, f"system\n{SYSTEM}"), end, *newline, start]
    before = "user\n"
    for number, count in enumerate(audio, start=1):
        ids += [*user_tokens(tokenizer, f"{before}Audio {number}:"), first, *[place] * count, last]
        before = "\n"
    return [*ids, *user_tokens(tokenizer, before + text), end, *newline, start, *user_tokens(tokenizer, "assistant\n")]
