"""Look for what is wrong with a corpus before anything is trained on it: every clip is named."""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from tqdm import tqdm

from emoser_lib.corpora.audio import CALLED, ENDINGS, DecodedAudio, is_file, read_sound
from emoser_lib.corpora.corpus import LABELS, Corpus
from emoser_lib.errors import DataError

SILENT_PEAK = 10 ** (-60 / 20)
"""A clip whose loudest sample is below this (-60 dB of full scale; our choice) is silent."""

FULL_SCALE, CLIPPED_SHARE = 0.999, 0.001
"""A clip is clipped when at least ``CLIPPED_SHARE`` of the samples of a channel reach ``FULL_SCALE`` (our choice).

Measured on 23 clips of elicited_es, as wav and as mp3: normalised to full scale at most 0.011 % reach it, amplified
by 12 dB and cut off at least 0.7 %. A rule by runs of full-scale samples would not do: mp3 breaks runs up, and
lets one loud peak overshoot for several samples.
"""

CANCELLED_SHARE = 0.1
"""Channels cancel where their mean has less than this share of their loudness (root mean square; our choice)."""

OFFSET = 0.05
"""A clip whose mean is farther from 0 than this share of full scale has an offset (our choice)."""

LOUDEST = 4.0
"""Floats beyond this are no overshoot of full scale (our choice): they were stored as if they were integers."""

EMPTY_SECONDS = 0.030
"""Shorter than this is no speech (our choice): about one frame of every encoder."""

LONGEST_SECONDS = 30.0
"""Whisper hears 30 s and no more; the papers' clips have at most 15 s."""


class FindingKind(StrEnum):
    """A kind of finding, in the order in which `check` lists them."""

    NO_AUDIO = "no audio"
    """The whole corpus has no audio (then no clip is named for it)."""
    NO_TRANSCRIPTIONS = "no transcriptions"
    """The whole corpus has no transcription (then no clip is named for it)."""
    MISSING_AUDIO = "missing audio"
    UNREADABLE_AUDIO = "unreadable audio"
    EMPTY_AUDIO = "empty audio"
    SILENT_AUDIO = "silent audio"
    CLIPPED_AUDIO = "clipped audio"
    OVER_LONG_AUDIO = "over-long audio"
    CANCELLING_CHANNELS = "cancelling channels"
    """Stereo of opposite phase: the mean of the channels, which is what systems hear, is nearly silent."""
    OFFSET_AUDIO = "audio with an offset"
    OUT_OF_RANGE_AUDIO = "audio out of range"
    """Floats far beyond full scale, as where integers were stored as floats."""
    NO_LENGTH_IN_HEADER = "no length in the header"
    """As a recorder leaves it that was switched off; all that is there is read."""
    MISNAMED_AUDIO = "misnamed audio"
    """The file is of another format than its name says; it is read as what it is."""
    NO_LABELS = "no labels"
    """No clip has a label, in a corpus that hides none."""
    LIKELY_COLUMN = "likely column"
    """A column of the table that nothing is read from and that looks like one of ours that the corpus lacks."""
    UNUSED_COLUMN = "unused column"
    """A column of the table that nothing is read from, or one that was named and is empty."""
    UNUSED_LABEL = "unused label"
    """A label that was said to be one of ours and is in no row."""
    SIMILAR_LABELS = "similar labels"
    """Labels that differ in upper and lower case only."""
    SHORT_ROW = "row that lacks cells"
    TIMES_IN_SECONDS = "times in seconds"
    """start_ms and end_ms are so close together that they must be seconds."""
    UNKNOWN_LABEL = "unknown label"
    """A label that is none of the six: the corpus may have it, the papers' systems do not know it."""
    EMPTY_TRANSCRIPTION = "empty transcription"
    DUPLICATE_TRANSCRIPTION = "duplicate transcription"
    """The same words as another clip, whatever the case, spaces and punctuation."""
    DUPLICATE_AUDIO = "duplicate audio"
    """The same bytes as another clip's file."""
    DUPLICATE_ACROSS_SPLITS = "duplicate across splits"
    """A duplicate transcription or audio whose other clip is in another split."""

    @property
    def is_fault(self) -> bool:
        """Something to repair before training. The others are worth knowing and may be as they should."""
        return self in FAULTS


FAULTS = (
    FindingKind.MISSING_AUDIO,
    FindingKind.UNREADABLE_AUDIO,
    FindingKind.EMPTY_AUDIO,
    FindingKind.SILENT_AUDIO,
    FindingKind.CLIPPED_AUDIO,
    FindingKind.OVER_LONG_AUDIO,
    FindingKind.CANCELLING_CHANNELS,
    FindingKind.OFFSET_AUDIO,
    FindingKind.OUT_OF_RANGE_AUDIO,
    FindingKind.NO_LABELS,
    FindingKind.UNUSED_LABEL,
    FindingKind.SIMILAR_LABELS,
    FindingKind.TIMES_IN_SECONDS,
    FindingKind.EMPTY_TRANSCRIPTION,
)


@dataclass(frozen=True)
class Finding:
    """A finding about one clip, or about the corpus where ``clip`` is empty.

    Attributes:
        kind: one of `FindingKind`.
        clip: id of the clip.
        message: one sentence for people.
        where: the audio file, where the finding is about one.
        group: id of the first clip with the same content, where the finding is about a duplicate.
    """

    kind: FindingKind
    clip: str
    message: str
    where: str = ""
    group: str = ""


def check(corpus: Corpus, *, longest_seconds: float = LONGEST_SECONDS) -> list[Finding]:
    """Find missing, unreadable, empty, silent, clipped and over-long audio, labels outside the six, empty
    and duplicate transcriptions, duplicate audio, and duplicates across splits.

    Each audio file is read once; a progress bar goes to a terminal's stderr. A clip without audio when others
    have it is missing; a corpus without any is one finding, and so is one without any transcription. Labels
    that the frame hides are not looked at.

    Args:
        corpus: what `load_corpus` returns.
        longest_seconds: a longer clip is over-long.

    Returns:
        Findings by kind, then in the corpus's order; empty when all is well.

    >>> from emoser_lib.corpora.corpus import Corpus, build_frame
    >>> words, split = ["¡Qué bien!", "qué  bien"], ["train", "test"]
    >>> two = build_frame({"id": ["a", "b"], "transcription": words, "split": split, "label": ["joy", "joy"]})
    >>> for finding in check(Corpus("two", two)):
    ...     print(f"{finding.kind}: {finding.clip} {finding.message}")
    no audio:  the corpus has no audio here
    duplicate transcription: a the words are those of b
    duplicate transcription: b the words are those of a
    duplicate across splits: a split train, but the words are those of b (test)
    duplicate across splits: b split test, but the words are those of a (train)
    """
    return check_and_measure(corpus, longest_seconds=longest_seconds).findings


@dataclass(frozen=True)
class Measured:
    """What `check` finds, with the length of each clip.

    Attributes:
        findings: as `check` returns them.
        seconds: by clip id, of what was decoded; clips whose audio is not there or cannot be read are left out.
    """

    findings: list[Finding]
    seconds: dict[str, float]


def check_and_measure(corpus: Corpus, *, longest_seconds: float = LONGEST_SECONDS) -> Measured:
    """Find what `check` finds, and keep each clip's length: both need each audio file once."""
    frame = corpus.frame
    found, audio, seconds = _measure_all(corpus, longest_seconds)
    found += [*_labels(corpus), *_mapping(corpus)]
    found += _rows(corpus)
    words = {clip: _words(text) for clip, text in zip(frame["id"], frame["transcription"], strict=True)}
    if not any(words.values()):
        found.append(Finding(FindingKind.NO_TRANSCRIPTIONS, "", "the corpus has no transcriptions"))
    else:
        wordless = (clip for clip, text in words.items() if not text)
        found += [Finding(FindingKind.EMPTY_TRANSCRIPTION, clip, "the transcription has no words") for clip in wordless]
    split_of = dict(zip(frame["id"], frame["split"], strict=True))
    found += _duplicates(words, split_of, FindingKind.DUPLICATE_TRANSCRIPTION, "the words are those of")
    found += _duplicates(audio, split_of, FindingKind.DUPLICATE_AUDIO, "the audio is that of")
    kinds, rows = list(FindingKind), {clip: row for row, clip in enumerate(frame["id"])}
    found.sort(key=lambda finding: (kinds.index(finding.kind), rows.get(finding.clip, -1)))
    return Measured(found, seconds)


def _labels(corpus: Corpus) -> Iterator[Finding]:
    labels = corpus.frame["label"]
    there = set(labels)
    if not any(labels) and not corpus.held_out:
        yield Finding(
            FindingKind.NO_LABELS,
            "",
            f"no clip has a label: say which column has them ({corpus.mapping.option('label')}), if one does",
        )
    alike: dict[str, list[str]] = defaultdict(list)
    for label in [*dict.fromkeys(labels[labels != ""]), *LABELS]:
        if label not in alike[label.casefold()]:
            alike[label.casefold()].append(label)
    for names in alike.values():
        used = [name for name in names if name in there]
        if len(names) > 1 and used and used != [names[-1]]:
            other = next(name for name in used if name != names[-1])
            what = f"'{other}' and '{names[-1]}' differ in case only: make one of them (--label {other}={names[-1]})"
            yield Finding(FindingKind.SIMILAR_LABELS, "", what)
    for clip, label in zip(corpus.frame["id"], labels, strict=True):
        if label and label not in LABELS:
            yield Finding(FindingKind.UNKNOWN_LABEL, clip, f"the label '{label}' is not one of {', '.join(LABELS)}")


def _mapping(corpus: Corpus) -> Iterator[Finding]:
    mapping = corpus.mapping
    likely = {theirs: ours for ours, theirs in mapping.proposed.items()}
    for name in mapping.unused:
        what = f"nothing is read from the column '{name}'"
        if ours := likely.get(name):
            what += f", which may be our {ours} ({mapping.option(ours)})"
        yield Finding(FindingKind.LIKELY_COLUMN if ours else FindingKind.UNUSED_COLUMN, "", what)
    for ours in mapping.empty:
        what = f"every cell of the column '{mapping.columns[ours]}' is empty (--column {ours}={mapping.columns[ours]})"
        yield Finding(FindingKind.UNUSED_COLUMN, "", what)
    for name in mapping.unused_labels:
        yield Finding(FindingKind.UNUSED_LABEL, "", f"no row has the label '{name}' (--label {name}=…)")


def _rows(corpus: Corpus) -> Iterator[Finding]:
    for clip in corpus.short_rows:
        yield Finding(
            FindingKind.SHORT_ROW, clip, "its row has fewer cells than the header: the others are taken as empty"
        )
    lengths = (corpus.frame["end_ms"] - corpus.frame["start_ms"]).dropna()
    if len(lengths) and lengths.median() < 1000 * EMPTY_SECONDS:
        what = f"start_ms and end_ms are {lengths.median():g} ms apart in the middle: give milliseconds, not seconds"
        yield Finding(FindingKind.TIMES_IN_SECONDS, "", what)


def _measure_all(corpus: Corpus, longest_seconds: float) -> tuple[list[Finding], dict[str, str], dict[str, float]]:
    """The findings about audio, and by clip each file's hash and length."""
    paths = dict(zip(corpus.frame["id"], corpus.frame["audio"], strict=True))
    if not any(paths.values()):
        return [Finding(FindingKind.NO_AUDIO, "", "the corpus has no audio here")], {}, {}
    found, hashes, lengths = [], {}, {}
    for clip, path in tqdm(paths.items(), desc="reading audio", unit="clip", disable=None, leave=False):
        if not is_file(path):
            found.append(Finding(FindingKind.MISSING_AUDIO, clip, f"{path or 'its audio'} is not there", path))
            continue
        try:
            with Path(path).open("rb") as file:
                hashes[clip] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            found.append(
                Finding(FindingKind.UNREADABLE_AUDIO, clip, f"{path} cannot be opened ({error.strerror})", path)
            )
            continue
        try:
            sound = read_sound(path)
        except DataError as error:
            found.append(Finding(FindingKind.UNREADABLE_AUDIO, clip, str(error), path))
            continue
        lengths[clip] = sound.seconds
        found += [Finding(kind, clip, said, path) for kind, said in _listen(Path(path), sound, longest_seconds)]
    return found, hashes, lengths


def _listen(path: Path, sound: DecodedAudio, longest_seconds: float) -> Iterator[tuple[FindingKind, str]]:
    """What is wrong with the samples as they are stored: before channels are averaged and the rate is changed."""
    if path.suffix.lower() not in ENDINGS[sound.container]:
        yield (
            FindingKind.MISNAMED_AUDIO,
            f"{path.name} is {CALLED.get(sound.container, sound.container)}, {sound.codec}: it is read as that",
        )
    if sound.lacks_sizes:
        yield FindingKind.NO_LENGTH_IN_HEADER, f"the header says no length, {sound.seconds:.2f} s are there"
    size, seconds = np.abs(sound.samples), sound.seconds
    if seconds < EMPTY_SECONDS:
        yield FindingKind.EMPTY_AUDIO, f"{1000 * seconds:.0f} ms long, shorter than {1000 * EMPTY_SECONDS:.0f} ms"
        return
    if size.max() < SILENT_PEAK:
        yield FindingKind.SILENT_AUDIO, f"no sample is louder than {20 * np.log10(SILENT_PEAK):.0f} dB of full scale"
    if size.max() > LOUDEST:
        yield (
            FindingKind.OUT_OF_RANGE_AUDIO,
            f"samples of up to {size.max():,.0f} where 1 is full scale: export it again",
        )
        return
    yield from _unheard(sound)
    share = float((size >= FULL_SCALE).mean(axis=0).max())
    if share >= CLIPPED_SHARE:
        yield FindingKind.CLIPPED_AUDIO, f"{share:.2%} of the samples are at full scale"
    if seconds > longest_seconds:
        yield FindingKind.OVER_LONG_AUDIO, f"{seconds:.1f} s long, longer than {longest_seconds:g} s"


def _unheard(sound: DecodedAudio) -> Iterator[tuple[FindingKind, str]]:
    """What is wrong with the mean of the channels, which is what systems hear."""
    mono = sound.samples.mean(axis=1)
    offset = float(mono.mean())
    loud, heard = (float(np.sqrt(np.mean(np.square(values)))) for values in (sound.samples, mono))
    if sound.samples.shape[1] > 1 and loud >= SILENT_PEAK and heard < CANCELLED_SHARE * loud:
        yield (
            FindingKind.CANCELLING_CHANNELS,
            "its channels are of opposite phase: their mean is nearly silent, keep one",
        )
    elif loud >= SILENT_PEAK and np.abs(mono - offset).max() < SILENT_PEAK:
        yield FindingKind.SILENT_AUDIO, f"every sample is {offset:.2f} of full scale, a constant without sound"
    elif abs(offset) > OFFSET:
        yield FindingKind.OFFSET_AUDIO, f"its samples lie around {offset:.2f} of full scale: take the offset out"


def _words(text: str) -> str:
    return re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _duplicates(
    content_of: dict[str, str], split_of: dict[str, str], kind: FindingKind, what: str
) -> Iterator[Finding]:
    groups = defaultdict(list)
    for clip, content in content_of.items():
        if content:
            groups[content].append(clip)
    for group in (clips for clips in groups.values() if len(clips) > 1):
        splits = {split_of[clip] for clip in group} - {""}
        elsewhere = {
            own: _some([f"{clip} ({split_of[clip]})" for clip in group if split_of[clip] not in ("", own)])
            for own in splits
        }
        for clip in group:
            yield Finding(kind, clip, f"{what} {_some(group, besides=clip)}", group=group[0])
            own = split_of[clip]
            if named := elsewhere.get(own):
                yield Finding(
                    FindingKind.DUPLICATE_ACROSS_SPLITS, clip, f"split {own}, but {what} {named}", group=group[0]
                )


def _some(names: list[str], besides: str = "", most: int = 3) -> str:
    shown = [name for name in names[: most + 1] if name != besides][:most]
    more = len(names) - len(shown) - bool(besides)
    return ", ".join(shown) + (f" and {more} more" if more else "")
