"""What a checkpoint's configuration says it cannot take: told before its weights are read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emoser_lib.corpora import cache_home
from emoser_lib.systems.checkpoints.catalogue import CHECKPOINTS, CheckpointKind
from emoser_lib.systems.checkpoints.folders import configuration_of, local_checkpoint

ENCODER_SECONDS = 60.0
"""What an encoder may hear at once where its architecture sets no limit (our choice: memory grows with its square)."""

FRAMES_A_SECOND = 50
"""Of every encoder of the papers."""

POSITIONS = ("max_position_embeddings", "n_positions", "seq_length")
"""What configurations call the number of tokens that a model reads."""

TEMPLATE_BYTES = 512
"""More than the tokens of any prompt around the transcription: a token has at least one byte."""


@dataclass(frozen=True)
class EncoderLimits:
    """Limits of an audio encoder.

    Attributes:
        layers: outputs to choose from, 0 to ``layers - 1``.
        seconds: what it hears at once.
    """

    layers: int
    seconds: float


def encoder_limits(name: str) -> EncoderLimits:
    """Read the limits of an encoder from its configuration, or from what is known of it.

    >>> encoder_limits("emoser/demo-whisper")
    EncoderLimits(layers=3, seconds=30.0)
    """
    told = _configuration(name, "encoder")
    if told["model_type"] == "whisper":
        return EncoderLimits(told["encoder_layers"] + 1, told.get("max_source_positions", 1500) / FRAMES_A_SECOND)
    blocks = told["model_conf"]["depth"] if told["model_type"] == "emotion2vec" else told["num_hidden_layers"]
    return EncoderLimits(blocks + 1, ENCODER_SECONDS)


@dataclass(frozen=True)
class LongPrompt:
    """A prompt of more tokens than the model reads: its clip, its tokens, and how many are read at most."""

    clip: str
    tokens: int
    most: int


def longest_prompt(name: str, kind: CheckpointKind, texts: Mapping[str, str]) -> LongPrompt | None:
    """Find the transcription that a language model has too few positions for; ``None`` where all fit.

    The tokens are counted only where a text is long enough in bytes, by the tokenizer alone; what comes around the
    transcription is not counted. ``None`` too where nothing is known of the model's positions or its tokenizer.

    Args:
        name: of the checkpoint.
        kind: what it is.
        texts: clip id -> transcription.

    >>> longest_prompt("emoser/demo-gemma", "llm", {"a": "hola"})
    >>> longest_prompt("emoser/demo-gemma", "llm", {"a": "hola", "b": "hola " * 2000}).clip
    'b'
    """
    told = _configuration(name, kind)
    told = {**told, **told.get("text_config", {})}
    most = next((told[key] for key in POSITIONS if key in told), None)
    clip, text = max(texts.items(), key=lambda one: len(one[1].encode()))
    folder = local_checkpoint(name, kind)
    if most is None or len(text.encode()) + TEMPLATE_BYTES <= most or folder is None:
        return None
    # Of Qwen-Audio as it is published there is a tokenizer only once it was converted.
    tokenizers = [folder / "tokenizer.json", *cache_home().glob(f"converted/{folder.name}-*/tokenizer.json")]
    path = next((path for path in tokenizers if path.is_file()), None)
    if path is None:
        return None
    from tokenizers import Tokenizer  # a second, which nearly no corpus needs

    tokens = len(Tokenizer.from_file(str(path)).encode(text, add_special_tokens=False).ids)
    return LongPrompt(clip, tokens, most) if tokens >= most else None


def _configuration(name: str, kind: CheckpointKind) -> Mapping[str, Any]:
    folder = local_checkpoint(name, kind)
    return CHECKPOINTS[name].architecture if folder is None else configuration_of(folder)
