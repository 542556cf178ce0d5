"""Prompts of the papers, the chat format around them, and their tokens: what clips share, what is a clip's own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING

import pandas as pd

from emoser_lib.corpora import LABELS
from emoser_lib.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TAG = "<transcription>"
"""Where a template takes the transcription: the tag of THAU-UPM, Table 1."""

CHATS = ("auto", "gemma", "own", "plain")
"""Ways to put a prompt before a model; see `chat_of`."""

TURN = ("<start_of_turn>", "<end_of_turn>")
"""The control tokens of Gemma's chat format; its base models have them too."""

MARK = "\ue000"
"""Stands for the transcription while the text around it is looked for: a character that no one uses."""

AUDIO_TAG = "<audio>"
"""Where a template takes the audio's frames; Qwen-Audio's own tag before them."""

AUDIO_END_TAG = "</audio>"
"""Qwen-Audio's tag after them."""

AUDIO_MARK = "\ue001"
"""Stands for the audio, as `MARK` for the transcription."""

AUDIO = -1
"""The token id of the audio's place in a prompt; an audio system puts one for each frame there."""

DAY = "26 Jul 2024"
"""Llama 3's chat template writes the date: a fixed one (the template's own default), so that a run can be repeated."""


@dataclass(frozen=True)
class PromptBatch:
    """Tokens of one prompt with several transcriptions; ``prefix + rests[i]`` is the whole input of clip i.

    The prefix ends one token before the prompt's own text does, since that last token may join with the
    transcription (":" and "(" to ":("). So it is the same for all clips, whichever of them come together,
    as long as a piece of the tokenizer reaches no further back; where one does, the prefix is what these clips share.
    The audio is a clip's own: the prefix ends before it.

    Attributes:
        prefix: token ids all clips begin with.
        rests: per clip, the token ids from there to the last one before the answer; never empty.
        tail: the text before the answer, from the transcription or the audio on. `Verbaliser.build` takes it as
            ``after``.
        end: the token a finished answer ends with, empty where the tokenizer has none. `Verbaliser.build`
            takes it as ``end``.
        leading: what stands between the tail and the word that answers. `Verbaliser.build` takes it as ``leading``.
    """

    prefix: list[int]
    rests: list[list[int]]
    tail: str
    end: str
    leading: str = ""

    def __len__(self) -> int:
        return len(self.rests)

    def table(self, tokenizer: "PreTrainedTokenizerBase", clip: int = 0) -> pd.DataFrame:
        """Tabulate one clip's input by token: id, piece, text, part (prefix or rest); the audio's place is one row."""
        ids = self.prefix + self.rests[clip]
        part = ["prefix"] * len(self.prefix) + ["rest"] * len(self.rests[clip])
        piece = [AUDIO_TAG if token == AUDIO else tokenizer.convert_ids_to_tokens(token) for token in ids]
        text = [AUDIO_TAG if token == AUDIO else tokenizer.decode([token]) for token in ids]
        return pd.DataFrame({"id": ids, "piece": piece, "text": text, "part": part})


@dataclass(frozen=True)
class Prompt:
    """An instruction with one place for the transcription, or one for the audio, or both.

    Attributes:
        template: the text, with the tags ``<transcription>`` and ``<audio>``, each at most once.
        language: of the instruction, as ISO 639-1 code.
        words: the emotion words the template names, in its order.
        source: where it is from.
        leading: what comes before the answer's word outside a chat: " " after "emotion =".

    Raises:
        UsageError: no tag is there, or one of them twice.

    >>> Prompt("Emotion of: <transcription>", "en", (), "our choice").render("{a} <transcription>")
    'Emotion of: {a} <transcription>'
    """

    template: str
    language: str
    words: tuple[str, ...]
    source: str
    leading: str = ""

    def __post_init__(self) -> None:
        counts = [self.template.count(tag) for tag in (TAG, AUDIO_TAG)]
        if max(counts) != 1:
            raise UsageError(
                f"The template {self.template!r} must have the tag {TAG} or {AUDIO_TAG} or both, each exactly once."
            )

    @property
    def hears(self) -> bool:
        """Whether it has a place for the audio."""
        return AUDIO_TAG in self.template

    @property
    def reads(self) -> bool:
        """Whether it has a place for the transcription."""
        return TAG in self.template

    def listing(self, words: Mapping[str, str]) -> "Prompt":
        """Return the prompt with the words of a corpus's own labels in place of its own; with the papers' six, itself.

        Args:
            words: label -> its word, from `words_for`.

        >>> prompt_named("qwen-audio").listing({"calm": "calm", "joy": "joy"}).template[:52]
        'Select the predominant emotion from calm and joy. An'
        """
        if set(words) <= set(LABELS):
            return self
        *first, last = words.values()

        def own(found: re.Match[str]) -> str:
            return f"{', '.join(first)}{found[1]}{last}" if first else last

        listed = ", ".join(map(re.escape, self.words[:-1])) + f"(, | and | or ){re.escape(self.words[-1])}"
        return replace(self, template=re.sub(listed, own, self.template), words=tuple(words.values()))

    def render(self, transcription: str) -> str:
        """Write the prompt's text for one clip. The transcription goes in as it is: nothing in it is looked at."""
        return self.template.replace(TAG, transcription)

    def encode(
        self, tokenizer: "PreTrainedTokenizerBase", transcriptions: Sequence[str], chat: str = "auto"
    ) -> PromptBatch:
        """Tokenise what a model sees before its answer, cut into what the clips share and what each has of its own.

        A transcription is data. Control tokens in it, such as ``<start_of_turn>``, are broken by a space after
        their first character, so that they are tokens of ordinary text (our choice; transcriptions of the corpora
        have none). Apart from that the ids are those the tokenizer gives for the whole text at once.

        Args:
            tokenizer: of the model.
            transcriptions: one per clip.
            chat: how the prompt is put before the model, see `chat_of`.

        Raises:
            UsageError: see `chat_of`.
            DataError: a transcription has a control token that a space does not break.
        """
        chat = chat_of(tokenizer, chat)
        newline = "\n" if chat == "plain" and self.template.endswith(TAG) else ""
        mark = self.render(MARK).replace(AUDIO_TAG, AUDIO_MARK) + newline
        around = _in_chat(tokenizer, [mark], chat)[0]
        parts = around.split(MARK)
        if len(parts) != 1 + self.reads or around.count(AUDIO_MARK) != self.hears:
            times = len(parts) - 1 if self.reads else around.count(AUDIO_MARK)
            raise UsageError(f"The chat template writes the prompt {times} times, not once: use chat='plain'.")
        control = _control_tokens(tokenizer, _in_chat(tokenizer, [MARK], chat)[0])
        # Case counts: Gemma has 6,000 control tokens, and ignoring case made this some 40 times slower.
        found = re.compile("|".join(map(re.escape, [*control, AUDIO_MARK])))
        clips = [mark.replace(MARK, found.sub(_break, text)) for text in ("", *transcriptions)]
        head = parts[0].split(AUDIO_MARK)[0]
        lead = _first_token(tokenizer, chat)
        texts = [head, *_in_chat(tokenizer, clips, chat)]
        stable, empty, *wholes = (lead + ids for ids in _tokens(tokenizer, texts))
        _refuse_control(wholes, empty, set(control.values()) - {tokenizer.unk_token_id})
        ends_with_audio = AUDIO_MARK in parts[0] or not self.reads
        prefix = _shared([stable if ends_with_audio else stable[:-1], *wholes])
        end = TURN[1] if chat == "gemma" else str(tokenizer.eos_token or "")
        tail = parts[-1].split(AUDIO_MARK)[-1]
        rests = [ids[len(prefix) :] for ids in wholes]
        return PromptBatch(prefix, rests, tail, end, self.leading if chat == "plain" else "")


def _tokens(tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> list[list[int]]:
    """The ids of each text; the audio's place is `AUDIO`, and what is before and after it is tokenised apart.

    A tokenizer that has tags for audio (Qwen-Audio's) gets them on either side of it.
    """
    known = tokenizer.get_added_vocab()
    place = [AUDIO] if AUDIO_TAG not in known else [known[AUDIO_TAG], AUDIO, known[AUDIO_END_TAG]]
    sides = [text.split(AUDIO_MARK) for text in texts]
    every = [side for of in sides for side in of]
    # A thousand at a time: what a tokenizer keeps beside the ids is twenty times as large as they are.
    parts = (every[start : start + 1_000] for start in range(0, len(every), 1_000))
    ids = (side for part in parts for side in tokenizer(part, add_special_tokens=False)["input_ids"])
    whole: list[list[int]] = []
    for of in sides:
        whole.append(list(next(ids)))
        for _ in of[1:]:
            whole[-1] += [*place, *next(ids)]
    return whole


def chat_of(tokenizer: "PreTrainedTokenizerBase", chat: str = "auto") -> str:
    r"""Say how a prompt is put before a model: one of "gemma", "own", "plain".

    - ``gemma``: ``<start_of_turn>user\n[prompt]<end_of_turn>\n<start_of_turn>model`` (THAU-UPM, section 3.1), after the
      token for the beginning, which the paper does not print but Gemma is never without. A newline follows
      ``model``, as in Gemma's own template: the models were tuned on answers that start a line, and "the first word
      of the model turn" is the one after it. White space around the prompt goes, as there.
    - ``own``: the tokenizer's chat template, with the system message it brings along, if any.
    - ``plain``: the prompt alone, after the token for the beginning if the tokenizer sets one. If it ends
      with the transcription, a newline follows, else the answer would run on from it (our choice).
    - ``auto``: ``gemma`` where the tokenizer has Gemma's control tokens, so for its base models too, which have no
      chat template; else ``own`` if there is one; else ``plain``.

    Raises:
        UsageError: there is no such format, or the tokenizer lacks what it needs.
    """
    has_turns = set(TURN) <= set(tokenizer.get_added_vocab())
    has_own = bool(tokenizer.chat_template)
    if chat not in CHATS:
        raise UsageError(f"There is no chat format '{chat}'{did_you_mean(chat, list(CHATS))}: use {', '.join(CHATS)}.")
    if chat == "gemma" and not has_turns:
        raise UsageError(f"chat='gemma' needs a tokenizer with the tokens {' and '.join(TURN)}: use chat='auto'.")
    if chat == "own" and not has_own:
        raise UsageError("chat='own' needs a tokenizer with a chat template: use chat='auto' or chat='plain'.")
    if chat == "auto":
        return "gemma" if has_turns else "own" if has_own else "plain"
    return chat


def _in_chat(tokenizer: "PreTrainedTokenizerBase", prompts: list[str], chat: str) -> list[str]:
    if chat == "gemma":
        start, end = TURN
        return [f"{start}user\n{prompt.strip()}{end}\n{start}model\n" for prompt in prompts]
    if chat == "own":
        talks = [[{"role": "user", "content": prompt}] for prompt in prompts]
        try:
            texts = tokenizer.apply_chat_template(talks, tokenize=False, add_generation_prompt=True, date_string=DAY)
        except Exception as error:  # a template is a program of a stranger's
            said = " ".join(str(error).split())[:200].rstrip(".")
            raise DataError(
                f"the chat template of {tokenizer.name_or_path} fails ({said}): use chat='plain'."
            ) from None
        return [str(text) for text in texts]
    return prompts


def _first_token(tokenizer: "PreTrainedTokenizerBase", chat: str) -> list[int]:
    """The token for the beginning, as id: written into the text it changes how some tokenizers cut what follows."""
    first = tokenizer.bos_token_id
    if chat == "own" or first is None:
        return []
    sets_it = tokenizer("a")["input_ids"][:1] == [first]
    return [first] if chat == "gemma" or sets_it else []


def _control_tokens(tokenizer: "PreTrainedTokenizerBase", around: str) -> dict[str, int]:
    """What a transcription must not contain: special tokens, and added ones the chat format is built from."""
    return {
        token.content: number
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special or (token.content in around and not token.content.isspace())
    }


def _shared(sequences: list[list[int]]) -> list[int]:
    return [token for token, *others in takewhile(lambda at: len(set(at)) == 1, zip(*sequences, strict=False))]


def _break(found: re.Match[str]) -> str:
    return found[0][0] + " " + found[0][1:] if len(found[0]) > 1 else " "


def _refuse_control(wholes: list[list[int]], empty: list[int], control: set[int]) -> None:
    """A tokenizer may rewrite text before it looks for control tokens; then a space may not be enough."""
    allowed = [token for token in empty if token in control]
    for number, ids in enumerate(wholes):
        if [token for token in ids if token in control] != allowed:
            raise DataError(
                f"Transcription number {number + 1} has a control token of the model: take it out of the text."
            )


def _table_1(before: str, words: str, after: str) -> str:
    return f"{before}[{words}]\n{after}{TAG}"


_ENGLISH = (
    "Instruction:\nGiven the following audio transcription, predict the emotion of the speaker.\n"
    "The emotion can be one of the following: ",
    "The transcription is:",
)

_SPANISH = (
    "Instrucción:\nA partir de la siguiente transcripción de audio, predice la emoción de la persona que habla.\n"
    "La emoción puede ser una de las siguientes: ",
    "La transcripción es:",
)

_EIGHT = "neutral, sad, angry, happy, surprise, fear, disgust, contempt"

_SIX = "neutral, sad, angry, happy, fear, disgust"

_SEIS = "neutral, tristeza, ira, alegría, miedo, asco"

PROMPTS: Mapping[str, Prompt] = MappingProxyType(
    {
        "gemma": Prompt(
            _table_1(_ENGLISH[0], _EIGHT, _ENGLISH[1]), "en", tuple(_EIGHT.split(", ")), "THAU-UPM, Table 1, Gemma 2B"
        ),
        "qwen-audio": Prompt(
            "Select the predominant emotion from neutral, disgust, anger, joy, sadness and fear. Answer only with one "
            f"of the emotion words and nothing else. Consider also its transcription: {TAG}",
            "en",
            ("neutral", "disgust", "anger", "joy", "sadness", "fear"),
            "THAU-UPM, Table 1, Qwen-Audio-Chat",
        ),
        "gemma-six": Prompt(
            _table_1(_ENGLISH[0], _SIX, _ENGLISH[1]),
            "en",
            tuple(_SIX.split(", ")),
            "our choice: Table 1's without surprise and contempt, which no clip has",
        ),
        "gemma-spanish": Prompt(
            _table_1(_SPANISH[0], _SEIS, _SPANISH[1]),
            "es",
            tuple(_SEIS.split(", ")),
            "our choice: the six-label prompt in the language of the clips",
        ),
    }
)
"""The prompts by name. Wording is Table 1's to the letter, without a space before the transcription in Gemma's.

Line breaks of the Gemma prompts: after "Instruction:" and after each sentence. The paper's table cell shows them so,
and the authors' released Whisper-Gemma code breaks the lines of its sister prompt at these places. Qwen-Audio's is one
paragraph in the table: a single line.
"""


def prompt_named(name: str) -> Prompt:
    """Return the prompt of that name.

    Raises:
        UsageError: there is none.

    >>> prompt_named("gemma-six").words
    ('neutral', 'sad', 'angry', 'happy', 'fear', 'disgust')
    """
    if name not in PROMPTS:
        hint = did_you_mean(name, list(PROMPTS))
        raise UsageError(f"There is no prompt '{name}'{hint}: use one of {', '.join(PROMPTS)}.")
    return PROMPTS[name]
