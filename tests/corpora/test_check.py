"""`check` names every clip with something wrong, and no clip without."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from emoser_lib.corpora.check import LONGEST_SECONDS, Finding, FindingKind, _duplicates, check
from emoser_lib.corpora.corpus import Corpus, build_frame, label_set

RATE = 16_000
RANDOM = np.random.default_rng(0)


def speech(seconds: float = 0.5, peak: float = 0.5) -> np.ndarray:
    """Noise with the peaky envelope of speech, its loudest sample at ``peak``."""
    time = np.arange(round(seconds * RATE)) / RATE
    sound = RANDOM.normal(size=time.size) * np.abs(np.sin(2 * np.pi * 3 * time)) ** 2
    return sound * peak / max(np.abs(sound).max(initial=0), 1e-9)


def corpus_of(folder: Path, sounds: dict[str, np.ndarray], **columns: list[str]) -> Corpus:
    for name, sound in sounds.items():
        soundfile.write(folder / name, sound, RATE)
    frame = build_frame({"id": list(sounds), "audio": [str(folder / name) for name in sounds], **columns})
    return Corpus("own", frame, labels=label_set(frame["label"]))


def named(findings: list[Finding], kind: FindingKind) -> list[str]:
    return [finding.clip for finding in findings if finding.kind is kind]


def about_audio(findings: list[Finding]) -> dict[str, str]:
    return {
        f.clip: str(f.kind)
        for f in findings
        if f.kind not in (FindingKind.NO_TRANSCRIPTIONS, FindingKind.NO_LABELS, FindingKind.UNKNOWN_LABEL)
    }


def test_each_fault_of_audio_is_named_with_its_clip_and_nothing_else_is(tmp_path: Path) -> None:
    good = {"good.wav": speech(), "loud.wav": speech(peak=1.0), "good.mp3": speech(1.0), "good.ogg": speech(1.0)}
    bad = {
        "silent.wav": speech(peak=0.0009),
        "zeros.flac": np.zeros(RATE),
        "clipped.wav": np.clip(4 * speech(peak=1.0), -1, 1),
        "clipped.mp3": np.clip(8 * speech(1.0, peak=1.0), -1, 1),
        "one channel.wav": np.stack([speech(1.0, peak=0.2), np.arange(RATE) < 0.0015 * RATE], axis=1),
        "short.wav": speech(0.029),
        "none.wav": np.zeros(0),
        "long.flac": speech(30.5),
    }
    corpus = corpus_of(tmp_path, {**good, **bad, "gone.wav": speech(), "text.wav": speech(), "cut.flac": speech()})
    (tmp_path / "gone.wav").unlink()
    (tmp_path / "text.wav").write_text("This is not audio.")
    (tmp_path / "cut.flac").write_bytes(b"fLaC" + bytes(9))
    assert about_audio(check(corpus)) == {
        "silent.wav": "silent audio",
        "zeros.flac": "silent audio",
        "clipped.wav": "clipped audio",
        "clipped.mp3": "clipped audio",
        "one channel.wav": "clipped audio",
        "short.wav": "empty audio",
        "none.wav": "empty audio",
        "long.flac": "over-long audio",
        "gone.wav": "missing audio",
        "text.wav": "unreadable audio",
        "cut.flac": "unreadable audio",
    }


def test_what_the_reader_refuses_is_unreadable(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nan.wav", np.array([0.1, np.nan] * 999), RATE, subtype="FLOAT")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nnan.wav\n")
    paths = [str(tmp_path / "nan.wav"), str(tmp_path / "list.m3u8")]
    corpus = Corpus("own", build_frame({"id": ["nan", "list"], "audio": paths}))
    assert named(check(corpus), FindingKind.UNREADABLE_AUDIO) == ["nan", "list"]


@pytest.mark.parametrize(
    ("seconds", "faulty"), [(0.030, False), (LONGEST_SECONDS, False), (30.01, True), (0.0299, True)]
)
def test_the_limits_of_length_themselves_are_allowed(tmp_path: Path, seconds: float, faulty: bool) -> None:
    corpus = corpus_of(tmp_path, {"a.wav": speech(seconds)})
    assert bool(about_audio(check(corpus))) is faulty


def test_the_longest_length_is_a_parameter(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, {"a.wav": speech(2.0), "b.wav": speech(1.0)})
    assert named(check(corpus, longest_seconds=1.5), FindingKind.OVER_LONG_AUDIO) == ["a.wav"]


def test_a_corpus_without_audio_or_text_is_one_finding_each_not_one_a_clip() -> None:
    corpus = Corpus("own", build_frame({"id": ["a", "b", "c"]}))
    assert [(f.kind, f.clip) for f in check(corpus)] == [
        (FindingKind.NO_AUDIO, ""),
        (FindingKind.NO_TRANSCRIPTIONS, ""),
        (FindingKind.NO_LABELS, ""),
    ]


def test_where_some_clips_have_audio_and_text_each_other_clip_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", speech(), RATE)
    columns = {"id": ["a", "b", "c"], "audio": [str(tmp_path / "a.wav"), "", ""], "transcription": ["sí", " ", "…"]}
    findings = check(Corpus("own", build_frame(columns)))
    assert named(findings, FindingKind.MISSING_AUDIO) == ["b", "c"]
    assert named(findings, FindingKind.EMPTY_TRANSCRIPTION) == ["b", "c"]


def test_a_label_of_its_own_is_named_and_no_label_is_not() -> None:
    frame = build_frame({"id": ["a", "b", "c"], "label": ["joy", "surprise", ""], "transcription": ["x", "y", "z"]})
    findings = check(Corpus("own", frame, labels=("joy", "surprise")))
    assert named(findings, FindingKind.UNKNOWN_LABEL) == ["b"]


def test_duplicates_of_words_pass_over_case_spaces_and_punctuation_but_not_accents() -> None:
    texts = ["¿Qué  tal?", "que tal", "QUÉ TAL", "Qué\u0301 tal".replace("é\u0301", "e\u0301"), "otra cosa"]
    frame = build_frame({"id": list("abcde"), "transcription": texts})
    findings = check(Corpus("own", frame))
    assert named(findings, FindingKind.DUPLICATE_TRANSCRIPTION) == ["a", "c", "d"]
    assert {f.group for f in findings if f.kind is FindingKind.DUPLICATE_TRANSCRIPTION} == {"a"}
    assert named(findings, FindingKind.DUPLICATE_ACROSS_SPLITS) == []


def test_duplicates_across_splits_name_only_the_clips_that_cross() -> None:
    columns = {
        "id": list("abcdef"),
        "transcription": ["uno", "uno", "dos", "Dos.", "tres", "tres"],
        "split": ["train", "train", "train", "test", "", "test"],
    }
    findings = check(Corpus("own", build_frame(columns)))
    assert named(findings, FindingKind.DUPLICATE_TRANSCRIPTION) == list("abcdef")
    assert named(findings, FindingKind.DUPLICATE_ACROSS_SPLITS) == ["c", "d"]


def test_the_same_bytes_are_duplicate_audio_within_and_across_splits(tmp_path: Path) -> None:
    same = speech()
    sounds = {"a.wav": same, "b.wav": same, "c.wav": same, "d.wav": speech()}
    findings = check(corpus_of(tmp_path, sounds, split=["train", "train", "test", "test"]))
    assert named(findings, FindingKind.DUPLICATE_AUDIO) == ["a.wav", "b.wav", "c.wav"]
    assert named(findings, FindingKind.DUPLICATE_ACROSS_SPLITS) == ["a.wav", "b.wav", "c.wav"]


def test_a_large_group_of_duplicates_names_a_few_and_counts_the_rest() -> None:
    frame = build_frame({"id": [f"c{i}" for i in range(8)], "transcription": ["sí"] * 8})
    messages = [f.message for f in check(Corpus("own", frame)) if f.kind is FindingKind.DUPLICATE_TRANSCRIPTION]
    assert messages[0].endswith("c1, c2, c3 and 4 more")
    assert messages[7].endswith("c0, c1, c2 and 4 more")


@pytest.mark.needs_data
def test_elicited_es_has_its_five_clipped_clips_and_the_sentences_all_speakers_say() -> None:
    from emoser_lib.corpora import load_corpus

    corpus = load_corpus("elicited_es")
    findings = check(corpus)
    assert len(named(findings, FindingKind.CLIPPED_AUDIO)) == 5
    assert len(named(findings, FindingKind.DUPLICATE_TRANSCRIPTION)) == len(corpus)
    assert {f.kind for f in findings} == {FindingKind.CLIPPED_AUDIO, FindingKind.DUPLICATE_TRANSCRIPTION}


def test_a_name_that_is_too_long_for_a_file_is_missing_audio() -> None:
    frame = build_frame({"id": ["a"], "audio": ["x" * 5000 + ".wav"], "transcription": ["hola"]})
    assert named(check(Corpus("mine", frame)), FindingKind.MISSING_AUDIO) == list(frame["id"])


class Counted(dict[str, str]):
    """The clips' splits, and how often one was looked up."""

    looked_up = 0

    def __getitem__(self, clip: str) -> str:
        self.looked_up += 1
        return super().__getitem__(clip)


def test_a_sentence_that_all_clips_say_costs_no_more_by_clip() -> None:
    """Acted corpora have ten sentences in a hundred thousand clips."""

    def work(clips: int) -> int:
        ids = [f"c{number}" for number in range(clips)]
        splits = Counted((clip, ("train", "test")[number % 2]) for number, clip in enumerate(ids))
        found = list(_duplicates(dict.fromkeys(ids, "the same"), splits, FindingKind.DUPLICATE_TRANSCRIPTION, "x"))
        assert len(found) == 2 * clips
        return splits.looked_up

    assert work(2_000) <= 2.1 * work(1_000)
