"""IEMOCAP and MELD in small folders of the published layout (the content is ours)."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from emoser_lib.corpora.published import load_iemocap, load_meld
from emoser_lib.errors import DataError

EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M000\texc\t[4.5000, 4.0000, 2.5000]
C-E2:\tExcited;\t()

[12.0000 - 13.0000]\tSes01F_impro01_M001\txxx\t[2.5000, 3.0000, 2.5000]
[13.5000 - 14.0000]\tSes01F_impro01_FXX0\tfru\t[2.5000, 3.0000, 2.5000]
"""
TRANSCRIPTS = """Ses01F_impro01_F000 [006.2901-008.2357]: Good morning.
M: [LAUGHTER]
Ses01F_impro01_M000 [010.0100-011.3925]: It came: the letter!
Ses01F_impro01_M001 [012.0000-013.0000]: Well.
"""
HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_tone(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(np.arange(8000) / 10), 16_000)


@pytest.fixture
def iemocap(tmp_path: Path) -> Path:
    dialog = tmp_path / "IEMOCAP_full_release" / "Session1" / "dialog"
    write(dialog / "EmoEvaluation" / "Ses01F_impro01.txt", EVALUATION)
    (dialog / "EmoEvaluation" / "._Ses01F_impro01.txt").write_bytes(b"\x00\x05\x16\x07Mac OS X\xff")
    write(dialog / "transcriptions" / "Ses01F_impro01.txt", TRANSCRIPTS)
    write_tone(dialog.parent / "sentences" / "wav" / "Ses01F_impro01" / "Ses01F_impro01_F000.wav")
    return tmp_path


@pytest.fixture
def meld(tmp_path: Path) -> Path:
    root = tmp_path / "MELD.Raw"
    time = '"00:20:57,256","0:21:00,049"'
    write(root / "train" / "train_sent_emo.csv", HEADER + f"1,Don\x92t go,Ann,surprise,negative,0,0,8,21,{time}\n")
    write(root / "dev_sent_emo.csv", HEADER + '1,Fine.,Bob,joy,positive,0,0,8,21,"0:00:01,5","0:00:02,075"\n')
    write(root / "test_sent_emo.csv", HEADER + '9,"So, no",Bob,neutral,neutral,0,0,8,21,"0:00:02,5","0:00:01,9"\n')
    (root / "train" / "train_splits").mkdir()
    (root / "train" / "train_splits" / "dia0_utt0.mp4").write_bytes(b"video")
    write_tone(root / "dev_splits_complete" / "dia0_utt0.wav")
    return tmp_path


def test_iemocap_clips_have_text_label_times_and_audio(iemocap: Path) -> None:
    corpus = load_iemocap(iemocap)
    first = corpus.row("Ses01F_impro01_F000")
    assert (first.transcription, first.label, first.video) == ("Good morning.", "neutral", "Ses01F_impro01")
    assert (first.start_ms, first.end_ms) == (6290, 8236)
    assert corpus.waveform(first.id).shape == (8000,)
    assert corpus.row("Ses01F_impro01_M000").transcription == "It came: the letter!"


def test_iemocap_speaker_and_gender_are_those_of_the_turn_not_of_the_dialogue(iemocap: Path) -> None:
    frame = load_iemocap(iemocap).frame.set_index("id")
    assert frame.loc["Ses01F_impro01_M000", ["speaker", "gender"]].tolist() == ["Ses01M", "male"]
    assert frame.loc["Ses01F_impro01_F000", ["speaker", "gender"]].tolist() == ["Ses01F", "female"]


def test_iemocap_labels_are_mapped_and_no_agreement_is_no_label(iemocap: Path) -> None:
    corpus = load_iemocap(iemocap, every_emotion=True)
    assert corpus.frame["label"].tolist() == ["neutral", "joy", "", "frustration"]
    assert len(corpus.training()) == 3
    assert corpus.labels[6:] == ("frustration", "surprise")


def test_iemocap_has_the_usual_four_emotions_and_says_what_it_leaves_out(iemocap: Path) -> None:
    corpus = load_iemocap(iemocap)
    assert corpus.labels == ("neutral", "anger", "joy", "sadness")
    assert corpus.frame["label"].tolist() == ["neutral", "joy"]
    assert corpus.left_out == {"of another emotion than the usual four": 2}


def test_iemocap_may_be_named_by_its_own_folder(iemocap: Path) -> None:
    assert load_iemocap(iemocap / "IEMOCAP_full_release").sha256 == load_iemocap(iemocap).sha256


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("[6.29 - 8.23] Ses01F_impro01_F000\n", r"Ses01F_impro01.txt, line 1: .* is not '\[start"),
        ("\n[6.2.9 - 8.23]\tSes01F_impro01_F000\tneu\t[1, 2, 3]\n", "line 2: '6.2.9' is not a time"),
        ("[6.29 - 8.23]\tSes01F_impro01_F000\tglad\t[1, 2, 3]\n", "line 1: the emotion 'glad' is not one of neu"),
    ],
)
def test_iemocap_names_the_file_and_line_that_are_wrong(iemocap: Path, broken: str, sentence: str) -> None:
    session = iemocap / "IEMOCAP_full_release" / "Session1"
    write(session / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt", broken)
    with pytest.raises(DataError, match=sentence):
        load_iemocap(iemocap)


def test_iemocap_names_a_malformed_transcript_and_a_missing_one(iemocap: Path) -> None:
    path = iemocap / "IEMOCAP_full_release" / "Session1" / "dialog" / "transcriptions" / "Ses01F_impro01.txt"
    write(path, "\nSes01F_impro01_F000 Good morning.\n")
    with pytest.raises(DataError, match=r"Ses01F_impro01.txt, line 2: .* is not 'turn"):
        load_iemocap(iemocap)
    path.unlink()
    with pytest.raises(DataError, match=r"transcriptions/Ses01F_impro01.txt is not there"):
        load_iemocap(iemocap)


def test_meld_ids_are_unique_over_splits_that_all_count_from_zero(meld: Path) -> None:
    corpus = load_meld(meld)
    assert corpus.frame["id"].tolist() == ["train_dia0_utt0", "dev_dia0_utt0", "test_dia0_utt0"]
    assert corpus.frame["split"].tolist() == ["train", "dev", "test"]
    assert corpus.frame["video"].nunique() == 3
    assert corpus.labels[-1] == "surprise"
    assert corpus.gold_labels().to_dict() == {"test_dia0_utt0": "neutral"}


def test_meld_text_and_times_are_repaired(meld: Path) -> None:
    frame = load_meld(meld).frame
    assert frame["transcription"][0] == "Don’t go"
    assert (frame["start_ms"][0], frame["end_ms"][0]) == (1_257_256, 1_260_049)
    assert (frame["start_ms"][1], frame["end_ms"][1]) == (1500, 2075)
    assert frame[["start_ms", "end_ms"]].iloc[2].isna().all()


def test_meld_audio_is_the_wav_beside_the_mp4(meld: Path) -> None:
    corpus = load_meld(meld)
    assert corpus.waveform("dev_dia0_utt0").shape == (8000,)
    with pytest.raises(DataError, match=r"train_splits/dia0_utt0.wav is not there"):
        corpus.waveform("train_dia0_utt0")
    assert corpus.row("test_dia0_utt0").audio == ""


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ('1,Hi,Ann,glee,positive,0,0,8,21,"0:00:01,0","0:00:02,0"', "line 2: the emotion 'glee'"),
        ('1,Hi,Ann,joy,positive,zero,0,8,21,"0:00:01,0","0:00:02,0"', "line 2: Dialogue_ID 'zero'"),
        ('1,Hi,Ann,joy,positive,0,0,8,21,soon,"0:00:02,0"', "line 2: 'soon' is not a time"),
    ],
)
def test_meld_names_the_file_and_line_that_are_wrong(meld: Path, row: str, sentence: str) -> None:
    write(meld / "MELD.Raw" / "dev_sent_emo.csv", HEADER + row + "\n")
    with pytest.raises(DataError, match=f"dev_sent_emo.csv, {sentence}"):
        load_meld(meld)


def test_a_folder_that_is_not_there_or_holds_something_else_is_one_sentence(tmp_path: Path) -> None:
    for load, name in ((load_iemocap, "iemocap"), (load_meld, "meld")):
        with pytest.raises(DataError, match=f"nowhere is not there: .*fetch {name}"):
            load(tmp_path / "nowhere")
        with pytest.raises(DataError, match=f"fetch {name}"):
            load(tmp_path)
