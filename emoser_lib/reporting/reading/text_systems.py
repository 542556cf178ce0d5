"""Tables about prompts, label words and freely written answers."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
from IPython.display import HTML

from emoser_lib.corpora import Corpus
from emoser_lib.errors import UsageError
from emoser_lib.experiments import score
from emoser_lib.reporting.escaping import as_text
from emoser_lib.reporting.scores import gold_for, score_on
from emoser_lib.systems.prompts.text import AUDIO, PromptBatch, prompt_named
from emoser_lib.systems.prompts.words import WORDS, words_for
from emoser_lib.systems.reading.answers import ParsedAnswer, count_answers, parse_answer, to_label
from emoser_lib.systems.reading.verbaliser import Verbaliser
from emoser_lib.systems.reading.zero_shot import CONTENT_FREE, CUT_OFF, calibrated, label_scores, predict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from emoser_lib.systems.reading.llm import LLM

UNPARSABLE = "no label"
"""What an answer without a label counts as where it counts as wrong."""


def tokens(batch: PromptBatch, tokenizer: "PreTrainedTokenizerBase", clip: int = 0, places: int = 0) -> HTML:
    """Show one clip's input as the model gets it, one box per token; those of the clip's own part are framed.

    Args:
        batch: the prompt with the clips' transcriptions.
        tokenizer: of the model.
        clip: its number.
        places: embeddings that the audio takes, one box together.
    """
    boxes = []
    table = batch.table(tokenizer, clip)
    for number, piece, text, part in zip(*(table[name] for name in ("id", "piece", "text", "part")), strict=True):
        # A token may be a part of a letter only: then its name says more than a replacement character.
        seen = as_text((piece if "\ufffd" in text else text).replace(" ", "·").replace("\n", "↵"))
        if number == AUDIO:
            seen, part = f"<b>audio: {places} embeddings</b>", "rest"
        after = "<br>" if text.endswith("\n") else "<wbr>"
        boxes.append(f"<span class='emoser-token emoser-token-{part}' title='{number}'>{seen}</span>{after}")
    own = len(batch.rests[clip]) - batch.rests[clip].count(AUDIO)
    heard = f" and {places} of its audio" if places else ""
    counted = f"{len(batch.prefix)} tokens of the prefix, then {own} of this clip{heard}, framed"
    return HTML(f"<p class='emoser-tokens'>{''.join(boxes)}</p><p class='emoser-corpus'>{counted}</p>")


def word_pieces(tokenizer: "PreTrainedTokenizerBase", labels: Sequence[str], after: str = "\n") -> pd.DataFrame:
    """Tabulate the pieces of every label's word in each word set; nouns also as they are written after a space.

    Args:
        tokenizer: of the model.
        labels: of the corpus.
        after: the text before the answer, `PromptBatch.tail`.
    """
    sets = {name: (name, "") for name in WORDS} | {"nouns, after a space": ("nouns", " ")}
    columns = {}
    for title, (name, leading) in sets.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what begins alike is seen in the table
                built = Verbaliser.build(tokenizer, words_for(labels, name), leading=leading, after=after)
        except UsageError as refused:
            columns[title] = dict.fromkeys(labels, "refused: " + str(refused).split(":")[0])
        else:
            columns[title] = {x: " + ".join(pieces) for x, pieces in zip(labels, built.pieces, strict=True)}
    return pd.DataFrame(columns).rename_axis("label")


def answer_counts(answers: Sequence[str], labels: Sequence[str]) -> pd.DataFrame:
    """Count the answers of each kind, read strictly and leniently, and those that were cut off (see `CUT_OFF`)."""
    cut = sum(answer.endswith(CUT_OFF) for answer in answers)
    rows = {mode: count_answers(read(answers, labels, mode)) | {"cut off": cut} for mode in ("strict", "lenient")}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("parser")


def read(answers: Sequence[str], labels: Sequence[str], mode: str) -> list[ParsedAnswer]:
    """Parse each answer, see `parse_answer`."""
    return [parse_answer(text, labels, mode) for text in answers]


def fallback_table(corpus: Corpus, answers: pd.Series) -> pd.DataFrame:
    """Score answers without a label: taken for neutral, as in the paper, or counted as wrong.

    Args:
        corpus: gives gold labels and the label set. Its first label, neutral if it has that, is the fallback.
        answers: what the model wrote, by clip id.

    Returns:
        One row per parser: unparsable, macro-F1 with the fallback and as wrong, the difference, and how many of the
        unparsable are right only because of the fallback.
    """
    gold, fallback = gold_for(corpus, answers.index), corpus.labels[0]
    rows = {}
    for mode in ("strict", "lenient"):
        parsed = read(list(answers), corpus.labels, mode)
        found = pd.Series([answer.label for answer in parsed], index=answers.index, dtype=object)
        lucky = found.isna() & (gold == fallback)
        rescued = score_on(corpus, found.fillna(fallback)).macro_f1
        wrong = _macro_f1_of(gold, found.fillna(UNPARSABLE), corpus.labels)
        rows[mode] = {
            "unparsable": int(found.isna().sum()),
            f"as {fallback}": rescued,
            "as wrong": wrong,
            "difference": rescued - wrong,
            "right by fallback": int(lucky.sum()),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("parser")


def labelled(corpus: Corpus, answers: pd.Series, mode: str) -> pd.Series:
    """Label answers by clip id; without a label it is neutral, or the corpus's first label."""
    parsed = read(list(answers), corpus.labels, mode)
    return pd.Series([to_label(answer, corpus.labels[0]) for answer in parsed], index=answers.index)


def transcripts(corpus: Corpus, answers: pd.Series, each: int = 2) -> pd.DataFrame:
    """Show some clips of every kind of answer: what was said, what the model wrote, what the parser makes of it.

    Args:
        corpus: gives transcriptions and gold labels.
        answers: what the model wrote, by clip id.
        each: clips of each kind, the first of the corpus.
    """
    parsed = read(list(answers), corpus.labels, "lenient")
    table = pd.DataFrame(
        {
            "gold": gold_for(corpus, answers.index),
            "label": [answer.label or "" for answer in parsed],
            "kind": [answer.kind for answer in parsed],
            "answer": answers.str.replace("\n", " ↵ "),
            "transcription": corpus.frame.set_index("id")["transcription"][answers.index],
        }
    )
    return table.groupby("kind", sort=False).head(each).sort_values("kind", kind="stable").reset_index(drop=True)


def prompt_variants(
    llm: "LLM", corpus: Corpus, clips: pd.DataFrame, names: Sequence[str], chat: str = "auto", batch_size: int = 16
) -> pd.DataFrame:
    """Score label likelihood with other prompts, each with the words that it names.

    Args:
        llm: the model.
        corpus: gives gold labels and the label set.
        clips: rows of its frame.
        names: of prompts.
        chat: see `prompts.chat_of`.
        batch_size: clips run at once.

    Returns:
        One row per prompt: words, macro-F1 as it is and calibrated.
    """

    rows: dict[str, dict[str, str | float]] = {}
    for name in names:
        said = zero_shot(llm, corpus, clips, name, chat, batch_size)
        rows[name] = {"words": words_of(name)} | {way: score_on(corpus, told).macro_f1 for way, told in said.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("prompt")


def words_of(prompt: str) -> str:
    """Name the word set that a prompt offers."""
    offered = prompt_named(prompt).words
    return next(name for name, known in WORDS.items() if set(known.values()) <= set(offered))


def zero_shot(
    llm: "LLM", corpus: Corpus, clips: pd.DataFrame, prompt: str, chat: str = "auto", batch_size: int = 16
) -> dict[str, pd.Series]:
    """Label clips by the likeliest of the words that a prompt offers, without any training.

    Args:
        llm: the model.
        corpus: gives the label set.
        clips: rows of its frame.
        prompt: its name.
        chat: see `prompts.chat_of`.
        batch_size: clips run at once.

    Returns:
        Labels by clip id, as it is ("macro-F1") and "calibrated" (`zero_shot.calibrated`).
    """
    words = words_for(corpus.labels, words_of(prompt))
    batch = prompt_named(prompt).listing(words).encode(llm.tokenizer, [*clips["transcription"], *CONTENT_FREE], chat)
    verbaliser = Verbaliser.build(llm.tokenizer, words, after=batch.tail)
    scores = label_scores(llm.model, batch, verbaliser, batch_size, list(clips["id"]))
    scores, empty = scores[: len(clips)], scores[len(clips) :]
    ways = {"macro-F1": scores, "calibrated": calibrated(scores, empty)}
    ids = pd.Index(clips["id"], name="id")
    return {way: pd.Series(predict(values, corpus.labels), ids, name="predicted") for way, values in ways.items()}


def _macro_f1_of(gold: pd.Series, predicted: pd.Series, labels: Sequence[str]) -> float:
    """Mean F1 of the labels where predictions may be none of them: such a clip is missed, and no label's mistake."""
    scored = score(gold, predicted, [*labels, UNPARSABLE])
    return sum(scored.per_class[label].f1 for label in labels) / len(labels)
