"""The prompts of the systems that hear: where the frames go, and what is asked."""

from collections.abc import Mapping
from types import MappingProxyType

from emoser_lib.errors import UsageError, did_you_mean
from emoser_lib.systems.prompts.text import AUDIO_TAG, TAG, Prompt

_EIGHT = ("neutral", "sad", "angry", "happy", "surprise", "fear", "disgust", "contempt")

_LABELS = ("neutral", "disgust", "anger", "joy", "sadness", "fear")


def _released(transcription: str) -> str:
    # The code replaces the token of the blank line after "Audio information:" by the frames.
    return (
        "Instruction: \nGiven the following audio information and the transcription, predict the emotion of the "
        f"speaker.\nThe emotion can be one of the following: [ {', '.join(_EIGHT)}]\n{transcription}"
        f"Audio information:{AUDIO_TAG}Output:\nemotion ="
    )


_QWEN = (
    "Select the predominant emotion from neutral, disgust, anger, joy, sadness and fear. Answer only with one of the "
    "emotion words and nothing else."
)

_ASK = f"What emotion does the speaker's voice show: {', '.join(_LABELS[:-1])} or {_LABELS[-1]}? Answer with one word."

AUDIO_PROMPTS: Mapping[str, Prompt] = MappingProxyType(
    {
        "qwen-audio": Prompt(
            f"Audio 1:{AUDIO_TAG}\n{_QWEN} Consider also its transcription: {TAG}",
            "en",
            _LABELS,
            "THAU-UPM, Table 1, Qwen-Audio-Chat; the recording before it, as in the checkpoint's chat",
        ),
        "qwen-audio-no-text": Prompt(
            f"Audio 1:{AUDIO_TAG}\n{_QWEN}",
            "en",
            _LABELS,
            "our choice: the same without the transcription",
        ),
        "whisper-gemma": Prompt(
            _released(f"The transcription is: {TAG}\n"),
            "en",
            _EIGHT,
            "THAU-UPM, released code at c806a13 (the paper does not print it)",
            leading=" ",
        ),
        "whisper-gemma-no-text": Prompt(
            _released("").replace(" and the transcription", ""),
            "en",
            _EIGHT,
            "our choice: the same without the transcription",
            leading=" ",
        ),
        "emosllm": Prompt(
            f"{AUDIO_TAG}\n{_ASK}\nTranscription: {TAG}\nEmotion:",
            "en",
            _LABELS,
            "our choice; EmoSLLM gives the order: audio, prompt, transcript",
            leading=" ",
        ),
        "emosllm-no-text": Prompt(
            f"{AUDIO_TAG}\n{_ASK}\nEmotion:",
            "en",
            _LABELS,
            "our choice; EmoSLLM: the transcript is optional",
            leading=" ",
        ),
    }
)
"""By name. Those without transcription end in "-no-text"."""

TRANSCRIBE = Prompt(
    f"{AUDIO_TAG}\nWrite down what is said.\nTranscription:",
    "en",
    (),
    "our choice; EmoSLLM's second task (recognition of speech and of emotion in one pipeline)",
    leading=" ",
)
"""What EmoSLLM's auxiliary task asks."""


def audio_prompt(name: str) -> Prompt:
    """Return the prompt of that name.

    Raises:
        UsageError: there is none.

    >>> audio_prompt("emosllm-no-text").reads
    False
    """
    if name not in AUDIO_PROMPTS:
        hint = did_you_mean(name, list(AUDIO_PROMPTS))
        raise UsageError(f"There is no audio prompt '{name}'{hint}: use one of {', '.join(AUDIO_PROMPTS)}.")
    return AUDIO_PROMPTS[name]
