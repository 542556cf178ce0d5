"""Check a corpus against a chapter and its parameters, before anything is loaded or trained: the one place for it.

The command does so before a kernel starts, the chapter again when it begins; both get the same settings, notes and
refusals. What follows from the corpus is derived and said (no test split: folds); what does not is refused in one
sentence that names the parameter and the value to give.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from emoser_lib.corpora import SOURCES, Corpus, Survey, data_home, load_corpus, share_clips, survey
from emoser_lib.corpora.check import EMPTY_SECONDS
from emoser_lib.errors import DataError, UsageError
from emoser_lib.experiments.settings.base import Settings
from emoser_lib.experiments.settings.own import OwnSettings
from emoser_lib.experiments.training.evaluation import evaluation_folds
from emoser_lib.experiments.training.folds import Fold, alike_by, chosen_folds, folds, most_folds
from emoser_lib.systems.checkpoints.catalogue import CheckpointKind
from emoser_lib.systems.checkpoints.limits import encoder_limits, longest_prompt
from emoser_lib.systems.classical.baselines import BASELINES

AnySettings = TypeVar("AnySettings", bound=Settings)

QWEN_SECONDS = 30.0
"""What Qwen-Audio hears of a clip: its beginning."""


@dataclass(frozen=True)
class Prepared(Generic[AnySettings]):
    """What a chapter starts with.

    Attributes:
        settings: with what follows from the corpus put in.
        corpus: loaded and looked through.
        notes: one sentence for each thing that was derived, left out or found.
        evaluate: "test" where the corpus has a test split with labels, else "folds".
        baselines: those of the chapter that can read or hear this corpus.
        has_text: whether any clip has a transcription.
    """

    settings: AnySettings
    corpus: Corpus
    notes: tuple[str, ...]
    evaluate: str
    baselines: tuple[str, ...]
    has_text: bool


def is_here(settings: Settings) -> bool:
    """Say whether the data of a chapter's corpora are on this machine.

    >>> from emoser_lib.experiments.settings.base import CorpusSettings
    >>> is_here(CorpusSettings.check(corpus="demo", seed=0))
    True
    """
    names = {settings.corpus, *(name for of in ("heard", "tested_on") if (name := getattr(settings, of, "")))}
    folders = (SOURCES[name].folder for name in names)
    return all(folder is None or (data_home() / folder).is_dir() for folder in folders)


def prepare(settings: AnySettings) -> Prepared[AnySettings]:
    """Load the corpus that the settings name, and fit the settings to it.

    Args:
        settings: a chapter's, checked.

    Raises:
        UsageError: a parameter does not fit the corpus.
        DataError: the corpus cannot be read, or is not fit for the chapter.

    >>> from emoser_lib.experiments.settings.base import ScoringSettings
    >>> ready = prepare(ScoringSettings.check(corpus="demo", system="text-svm", resamples=100, seed=0))
    >>> ready.evaluate, ready.notes
    ('test', ('`emoser corpus check demo` finds: duplicate transcription (12), duplicate across splits (4).',))
    """
    corpus = settings.load()
    sound = load_corpus(settings.heard) if hasattr(settings, "heard") else corpus
    looked = _Look(corpus, survey(corpus), sound, survey(sound), settings.model_dump())
    _labels(looked)
    _split(looked)
    _training(looked, settings)
    _text(looked, settings)
    _sound(looked)
    baselines = _baselines(looked, settings)
    _models(looked)
    _cuts(looked, settings)
    _curve(looked)
    _predictions(looked)
    _tested_on(looked, settings, baselines)
    return Prepared(
        settings=settings.model_copy(update=looked.changed),
        corpus=corpus,
        notes=tuple(" ".join(note.split()) for note in looked.notes + _found(looked)),
        evaluate="test" if looked.has_test else "folds",
        baselines=baselines,
        has_text=looked.has_text,
    )


@dataclass
class _Look:
    """What is known so far: of the corpus of the tables, of the one that is heard, and of the parameters."""

    corpus: Corpus
    survey: Survey
    sound: Corpus
    sound_survey: Survey
    given: dict[str, Any]
    changed: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"corpus '{self.corpus.name}'"

    @property
    def has_test(self) -> bool:
        """Whether a test split can be scored: an interval needs two clips."""
        return len(self.corpus.labelled_test()) > 1

    @property
    def has_text(self) -> bool:
        return bool((self.corpus.frame["transcription"] != "").any())

    @property
    def has_sound(self) -> bool:
        return bool((self.sound.frame["audio"] != "").any())

    @property
    def hears(self) -> bool:
        """Whether a system that hears is trained or asked, baselines apart."""
        return "encoder" in self.given or "checkpoint" in self.given

    @property
    def speeds(self) -> list[float]:
        return [1.0, *self.given.get("speeds", [])]

    def derive(self, name: str, value: Any, why: str) -> None:
        """Put another value in a parameter's place, and say so."""
        shown = f"'{value}'" if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else value
        self.given[name] = self.changed[name] = value
        self.notes.append(f"{why}: {name} is {shown}.")


def _labels(looked: _Look) -> None:
    corpus = looked.corpus
    if (corpus.frame["label"] == "").all() and corpus.labelled_test().empty:
        raise DataError(
            f"{looked.name} has no labels: say which column of its table has them (columns in corpus_options, "
            f"{corpus.mapping.option('label')})."
        )


def _split(looked: _Look) -> None:
    corpus, given = looked.corpus, looked.given
    scored, test = len(corpus.labelled_test()), len(corpus.test())
    unused = corpus.frame[~corpus.frame["split"].isin(["train", "test"])]
    if 0 < len(unused) < len(corpus) or (unused["split"] != "").any():
        named = ", ".join(f"'{split}'" for split in unused["split"].unique())
        looked.notes.append(f"{len(unused)} of {len(corpus)} clips are not used: their split is {named}.")
    training = corpus.frame if (corpus.frame["split"] == "").all() else corpus.frame[corpus.frame["split"] == "train"]
    if lacking := int((training["label"] == "").sum()):
        looked.notes.append(f"{lacking} of {len(training)} training clips have no label: they are not learnt from.")
    if scored < test:
        looked.notes.append(f"{test - scored} of {test} test clips have no label: they are not scored.")
    if looked.has_test:
        return
    why = "The corpus has no test split of two clips with labels"
    if given.get("evaluate") == "test":
        looked.derive("evaluate", "folds", why)
    if given.get("split") == "test":
        looked.derive("split", "train", why)
    if given.get("refit"):
        if not given["folds"]:
            raise UsageError(
                f"refit is true, folds are [], and {looked.name} has no test split of two clips with labels: set folds "
                "to [0] and refit to false."
            )
        if given.get("predictions"):
            raise UsageError(
                f"predictions are those of the test split, and {looked.name} has none of two clips with labels: leave "
                "predictions empty."
            )
        looked.derive("refit", False, why)


def _training(looked: _Look, settings: Settings) -> None:
    rows, learns = looked.corpus.training(), settings.trains or looked.given.get("split", "train") == "train"
    if learns and rows.empty:
        folds(looked.corpus)  # says which splits there are
    labels = rows["label"].unique() if settings.trains else looked.corpus.labels
    if len(labels) < 2 and (settings.trains or "words" in looked.given):
        raise DataError(f"{looked.name} has one label only ('{labels[0]}') to tell apart: give it clips of two.")
    if settings.counts_leaks and (unit := alike_by(looked.corpus)) != "video":
        lacking = "The corpus does not know every clip's video"
        instead = {
            "speaker": "what speakers give away is counted instead",
            "id": "nor who speaks: nothing can leak by it",
        }
        looked.notes.append(f"{lacking}{', ' if unit == 'id' else ': '}{instead[unit]}.")


def _text(looked: _Look, settings: Settings) -> None:
    given, texts = looked.given, looked.corpus.frame["transcription"]
    reads = settings.reads or given.get("transcript", False)
    if looked.has_text:
        if reads and (empty := int((texts == "").sum())):
            looked.notes.append(f"{empty} of {len(texts)} clips have no transcription: nothing is read of them.")
        return
    lacks = f"{looked.name} has no transcriptions"
    if settings.reads:
        raise UsageError(f"{lacks}, which this chapter's systems read: take one that hears (chapters 6 to 10).")
    if given.get("transcript"):
        looked.derive("transcript", False, "The corpus has no transcriptions")
    if "text" in _parts(given.get("system", "majority")):
        raise UsageError(f"{lacks}, which {given['system']} reads: set system to audio-svm.")
    if "speech_weights" in given:
        if given["speech_weights"] != [0.0]:
            looked.derive("speech_weights", [0.0], "Without transcriptions there is no speech to learn")
        looked.notes.append("The corpus has no transcriptions: the systems that read are left out.")


def _sound(looked: _Look) -> None:
    given = looked.given
    system = "audio" in _parts(given.get("system", "majority"))
    if not looked.has_sound and (looked.hears or system):
        if system:
            raise UsageError(f"{looked.name} has no audio, which {given['system']} hears: set system to text-svm.")
        which = f"heard is '{looked.sound.name}', which" if "heard" in given else looked.name
        raise UsageError(f"{which} has no audio, which this chapter's systems hear: name a corpus that has.")
    if looked.hears:
        _hearable(looked, looked.sound, looked.sound_survey)
    elif system:
        _hearable(looked, looked.corpus, looked.survey)
    if "checkpoint" in given:
        long = sum(seconds > QWEN_SECONDS for seconds in looked.survey.seconds.values())
        if long == len(looked.corpus):
            raise DataError(f"all clips of {looked.name} are longer than {QWEN_SECONDS:g} s: cut them into utterances.")
        if long:
            are = "clip is" if long == 1 else "clips are"
            looked.notes.append(f"{long} {are} longer than {QWEN_SECONDS:g} s: only the beginning is heard.")


def _hearable(looked: _Look, corpus: Corpus, made: Survey) -> None:
    """Every clip can be heard by every encoder; the first one that cannot is named."""
    if lacking := [clip for clip in corpus.frame["id"] if clip not in made.seconds]:
        why = made.unreadable.get(lacking[0], "its file is not there").rstrip(".")
        raise DataError(
            f"{len(lacking)} of {len(corpus)} clips of corpus '{corpus.name}' cannot be heard (first '{lacking[0]}': "
            f"{why}): put that right, or leave these rows out of the table."
        )
    shortest = EMPTY_SECONDS * max(looked.speeds)
    if short := [clip for clip, seconds in made.seconds.items() if seconds < shortest]:
        raise DataError(
            f"clip '{short[0]}' of corpus '{corpus.name}' lasts {1000 * made.seconds[short[0]]:.0f} ms, at least "
            f"{1000 * shortest:.0f} ms are needed: leave its row out of the table ({len(short)} such clips)."
        )
    window = looked.given.get("window_seconds", 0.0)
    encoders = [looked.given[name] for name in ("encoder",) if name in looked.given]
    for encoder in [*encoders, *looked.given.get("other_encoders", [])]:
        limit = encoder_limits(encoder).seconds * min(looked.speeds)
        if long := [clip for clip, seconds in made.seconds.items() if (window or seconds) > limit]:
            way = f"set window_seconds to at most {limit:g}" if "window_seconds" in looked.given else "cut it"
            raise DataError(
                f"clip '{long[0]}' of corpus '{corpus.name}' lasts {made.seconds[long[0]]:.1f} s, {encoder} hears "
                f"{limit:g} s at once: {way}, or leave its row out of the table ({len(long)} such clips)."
            )


def _baselines(looked: _Look, settings: Settings) -> tuple[str, ...]:
    given = looked.given
    asked = given.get("baselines", list(settings.compared)) or list(BASELINES)
    if "baselines" not in given and not settings.compared:
        return ()
    there = {"text": looked.has_text, "audio": looked.has_sound, "log_mel": looked.has_sound}
    kept = [name for name in asked if all(there[part] for part in _parts(name))]
    lacks = "transcriptions" if looked.has_sound else "audio"
    if not kept:
        other = "audio-svm" if looked.has_sound else "text-svm"
        raise UsageError(f"{looked.name} has no {lacks}, which all baselines need: set baselines to ['{other}'].")
    if left := [name for name in asked if name not in kept]:
        looked.notes.append(f"The corpus has no {lacks}: {', '.join(left)} are left out.")
        if "baselines" in given:
            given["baselines"] = looked.changed["baselines"] = kept
    if not looked.hears and any(part != "text" for name in kept for part in _parts(name)):
        _hearable(looked, looked.corpus, looked.survey)
    return tuple(kept)


def _parts(baseline: str) -> tuple[str, ...]:
    return BASELINES[baseline].parts


def _models(looked: _Look) -> None:
    given = looked.given
    if "layer" in given and given["layer"].isdecimal():
        for encoder in [given["encoder"], *given.get("other_encoders", [])]:
            layers = encoder_limits(encoder).layers
            if layers and int(given["layer"]) >= layers:
                raise UsageError(
                    f"layer is {given['layer']}, {encoder} has 0 to {layers - 1}: set layer to one of them."
                )
    if not (looked.has_text and ("prompt" in given or given.get("transcript"))):
        return
    kind: CheckpointKind = "audio llm" if "checkpoint" in given else "llm"
    name = given["checkpoint" if kind == "audio llm" else "llm"]
    texts = dict(zip(looked.corpus.frame["id"], looked.corpus.frame["transcription"], strict=True))
    if found := longest_prompt(name, kind, texts):
        raise DataError(
            f"the transcription of clip '{found.clip}' of {looked.name} has {found.tokens} tokens, {name} reads "
            f"{found.most} with the prompt: shorten it, or leave its row out of the table."
        )


def _cuts(looked: _Look, settings: Settings) -> None:
    """The folds that are asked for can be cut, and something can be learnt in each."""
    given, corpus = looked.given, looked.corpus if "heard" not in looked.given else looked.sound
    if "scheme" not in given:
        return
    by_folds = bool(given.get("folds")) or given.get("evaluate") == "folds"
    if by_folds and given["scheme"] != "paper":
        column, rows = given["scheme"], corpus.training()
        empty = int((rows[column] == "").sum())
        if empty == len(rows) or rows[column].nunique() < 2:
            how_many = "no" if empty == len(rows) else "one"
            looked.derive("scheme", "paper", f"The training clips have {how_many} {column}")
        elif empty:
            raise DataError(
                f"{empty} of {len(rows)} training clips of corpus '{corpus.name}' have no {column}: fill that column, "
                "or set scheme to paper."
            )
    most = most_folds(corpus, given["scheme"])
    for one in (corpus, looked.corpus):
        if (by_folds or settings.counts_leaks) and most_folds(one) < 2:
            raise DataError(
                f"corpus '{one.name}' has no label with two training clips, no folds can be cut: add clips."
            )
    if asked := given.get("folds"):
        kept = [fold for fold in asked if fold < most]
        if not kept:
            raise UsageError(
                f"folds are {asked}, corpus '{corpus.name}' can be cut into {most} by '{given['scheme']}': set folds "
                "to [0]."
            )
        if kept != asked:
            looked.derive("folds", kept, f"The corpus can be cut into {most} folds by '{given['scheme']}'")
    whole: list[Fold] = []
    if given.get("evaluate") == "folds":
        whole = folds(corpus, given["scheme"])
    elif by_folds:
        whole = chosen_folds(corpus, given["scheme"], given["folds"])
    if whole and (clips := given.get("train_clips")):
        chosen_folds(corpus, given["scheme"], given["folds"], clips)
        if (least := min(len(cut.train) for cut in whole)) < clips:
            looked.notes.append(f"train_clips is {clips}, a training part has {least}: all of them are taken.")
    if given.get("refit") or given.get("evaluate") == "test":
        whole = [*whole, *evaluation_folds(corpus, "test")]
    if whole and sum(len(cut.validation) for cut in whole) < 2:
        raise DataError(f"folds {given['folds']} of corpus '{corpus.name}' have one clip to score: name more of them.")
    labels = corpus.training().set_index("id")["label"]
    for cut in whole:
        if labels[list(cut.train)].nunique() < 2:
            raise DataError(
                f"the training part of fold {cut.index} of corpus '{corpus.name}' has one label only: set scheme to "
                "paper, or name other folds."
            )
    speakers = corpus.frame.set_index("id")["speaker"]
    if given["scheme"] == "speaker" and any(speakers[list(cut.validation)].nunique() < 2 for cut in whole):
        looked.notes.append("A fold leaves one speaker out: intervals of it alone are drawn by clip.")


def _curve(looked: _Look) -> None:
    """The points of a learning curve that lie below a whole training part, with a clip of each label."""
    given, corpus = looked.given, looked.corpus
    if not given.get("sizes"):
        return
    cuts = chosen_folds(corpus, given["scheme"], given["folds"], given["train_clips"])
    labels, whole = len(set(corpus.training()["label"])), min(len(cut.train) for cut in cuts)
    kept = [size for size in given["sizes"] if labels <= size <= whole - labels]
    if kept != given["sizes"]:
        looked.derive("sizes", kept, f"A training part has {whole} clips of {labels} labels")


def _tested_on(looked: _Look, settings: Settings, baselines: tuple[str, ...]) -> None:
    """The other corpus has labels in common, and all that the systems read and hear."""
    if not isinstance(settings, OwnSettings) or (other := settings.other_corpus()) is None:
        return
    name, shared = f"tested_on is '{other.name}'", [label for label in looked.corpus.labels if label in other.labels]
    if share_clips(other, looked.corpus):
        raise UsageError(f"{name}, which has clips of '{looked.corpus.name}', so it is no test: name another corpus.")
    if len(shared) < 2:
        raise UsageError(
            f"{name}, which has the labels {', '.join(other.labels)}, and {looked.name} has "
            f"{', '.join(looked.corpus.labels)}: name two of its labels as here (labels in tested_on_options)."
        )
    rows = other.frame[other.frame["label"].isin(shared)]
    reads = looked.given["transcript"] or any("text" in _parts(baseline) for baseline in baselines)
    if reads and (empty := int((rows["transcription"].str.strip() == "").sum())):
        raise UsageError(
            f"{name}, of which {empty} of {len(rows)} clips have no transcription, and systems trained here read: set "
            "transcript to false and baselines to ['audio-svm'], or leave tested_on empty."
        )
    _hearable(looked, other, survey(other))


def _predictions(looked: _Look) -> None:
    given = looked.given
    if not given.get("predictions"):
        return
    path = Path(given["predictions"])
    if path.is_dir():
        raise UsageError(f"predictions is {path}, a folder: name a file in it.")
    if not path.parent.is_dir():
        raise UsageError(f"predictions is {path}, and there is no folder {path.parent}: create it first.")
    if not given.get("refit"):
        raise UsageError("predictions are those of the test split, and refit is false: set refit to true.")


def _found(looked: _Look) -> list[str]:
    """One line of what the check finds in each corpus."""
    both = {looked.corpus.name: looked.survey, looked.sound.name: looked.sound_survey}
    return [f"`emoser corpus check {name}` finds: {made.found}." for name, made in both.items() if made.found]
