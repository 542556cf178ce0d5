"""Qwen-Audio-Chat (Qwen-Audio's first version) without remote code: converted once, then on transformers' classes."""

from emoser_lib.systems.qwen_audio.conversion import ConvertedQwenAudio, convert_qwen_audio, converted
from emoser_lib.systems.qwen_audio.model import QwenAudio, load
from emoser_lib.systems.qwen_audio.tokens import tokenizer_from

__all__ = ["ConvertedQwenAudio", "QwenAudio", "convert_qwen_audio", "converted", "load", "tokenizer_from"]
