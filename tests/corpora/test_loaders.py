"""Loaders: the real corpora as counted by hand, and a user's own folder."""

import csv
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from emoser_lib.corpora import COLUMNS, LABELS, Corpus, check, data_home, describe, load_corpus
from emoser_lib.errors import DataError, UsageError

TRAIN = {"neutral": 1166, "disgust": 705, "anger": 399, "joy": 362, "sadness": 345, "fear": 23}
TEST = {"neutral": 291, "disgust": 177, "anger": 100, "joy": 90, "sadness": 86, "fear": 6}


def write_table(path: Path, rows: list[dict[str, str]], delimiter: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with two sound files and a table with foreign columns and labels, in a subfolder."""
    (tmp_path / "data" / "audio").mkdir(parents=True)
    tone = np.sin(np.arange(22_050) / 20).astype("float32") / 2
    soundfile.write(tmp_path / "data" / "audio" / "uno.wav", np.stack([tone, tone], axis=1), 22_050)
    soundfile.write(tmp_path / "data" / "audio" / "dos.flac", tone, 22_050)
    rows = [
        {"file": "audio/uno.wav", "emocion": "Ira", "texto": "¡No, señor!"},
        {"file": "audio/dos.flac", "emocion": "", "texto": "vale"},
    ]
    write_table(tmp_path / "data" / "tabla.csv", rows)
    return tmp_path


COLUMN_MAP = {"audio": "file", "label": "emocion", "transcription": "texto"}


@pytest.mark.needs_data
def test_emospeech_has_the_challenges_split_and_hides_test_labels() -> None:
    corpus = load_corpus("emospeech")
    assert describe(corpus).splits["train"].labels == TRAIN
    test = corpus.test()
    assert len(test) == 750
    assert set(test["label"]) == {""}
    assert corpus.gold_labels().value_counts().to_dict() == TEST
    assert list(corpus.gold_labels().index) == list(test["id"])
    assert set(corpus.training()["split"]) == {"train"}
    assert not set(corpus.training()["id"]) & set(test["id"])


@pytest.mark.needs_data
def test_emospeech_rows_are_those_of_the_public_table() -> None:
    emospeech, meacorpus = load_corpus("emospeech"), load_corpus("meacorpus")
    assert len(meacorpus) == 5129
    public = meacorpus.frame.set_index("id").loc[emospeech.frame["id"]].reset_index()
    for column in ("transcription", "video", "gender", "start_ms", "end_ms"):
        assert (public[column] == emospeech.frame[column]).all()
    # The public table's own split is another one.
    assert (public["split"][emospeech.frame["split"] == "test"] == "train").sum() == 600


@pytest.mark.needs_data
def test_the_three_genuine_clips_load() -> None:
    emospeech, meacorpus = load_corpus("emospeech"), load_corpus("meacorpus")
    clips = sorted(p.name for p in (data_home() / "meacorpus" / "audio").glob("*.mp3"))
    assert len(clips) == 3
    for clip in clips:
        row = meacorpus.row(clip)
        expected = (row["end_ms"] - row["start_ms"]) / 1000
        assert len(meacorpus.waveform(clip)) / 16_000 == pytest.approx(expected, abs=0.1)
    assert sum(clip in set(emospeech.frame["id"]) for clip in clips) == 2


@pytest.mark.needs_data
def test_elicited_es_leaves_out_and_counts_the_unlabelled() -> None:
    corpus = load_corpus("elicited_es")
    assert len(corpus) == 1131
    assert corpus.left_out == {"without a label of the six": 190}
    assert corpus.frame["speaker"].nunique() == 16
    assert set(corpus.frame["gender"]) == {"female", "male"}
    assert corpus.waveform(corpus.frame["id"][0]).dtype == np.float32


def test_data_home_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMOSER_DATA", "somewhere")
    assert data_home() == tmp_path / "somewhere"


def test_missing_data_folder_names_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMOSER_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"emoser corpus fetch emospeech"):
        load_corpus("emospeech")


def test_tables_that_do_not_match_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMOSER_DATA", str(tmp_path))
    public = {"filename": "a.mp3", "label": "joy", "transcription": "hola", "split": "train"}
    keys = {"youtube_key": "k", "label": "joy", "gender": "male", "start_time": "0.0", "end_time": "1000.0"}
    write_table(tmp_path / "meacorpus" / "spanish-meacorpus-2023-dataset.csv", [public])
    write_table(tmp_path / "meacorpus" / "dataset-with-video-keys.csv", [keys | {"transcription": "adiós"}])
    with pytest.raises(DataError, match=r"row 2: label or text differs"):
        load_corpus("meacorpus")


def test_own_folder_maps_columns_and_labels(own: Path) -> None:
    corpus = load_corpus("folder", root=own, table="data/tabla.csv", columns=COLUMN_MAP, labels={"Ira": "anger"})
    assert tuple(corpus.frame.columns) == COLUMNS
    assert corpus.labels == ("anger",)
    assert list(corpus.frame["label"]) == ["anger", ""]
    assert list(corpus.frame["id"]) == ["audio/uno.wav", "audio/dos.flac"]
    assert corpus.frame["transcription"][0] == "¡No, señor!"
    assert list(corpus.training()["id"]) == ["audio/uno.wav"]
    assert len(corpus.waveform("audio/uno.wav")) == 16_000


def test_own_folder_without_a_label_map_keeps_foreign_labels(own: Path) -> None:
    corpus = load_corpus("folder", root=own, table="data/tabla.csv", columns=COLUMN_MAP)
    assert corpus.labels == ("Ira",)


def test_own_folder_with_a_label_map_refuses_what_it_lacks(own: Path) -> None:
    with pytest.raises(DataError, match="'Ira' is not mapped"):
        load_corpus("folder", root=own, table="data/tabla.csv", columns=COLUMN_MAP, labels={"Asco": "disgust"})


def test_own_folder_reads_semicolons_and_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_bytes("\ufeffaudio;transcription;label\na.wav;hola, adiós;joy\n".encode())
    corpus = load_corpus("folder", root=tmp_path)
    assert corpus.frame["transcription"][0] == "hola, adiós"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, UsageError, "--root"),
        ({"root": "nowhere"}, UsageError, "not there"),
        ({"root": ".", "columns": {"adio": "file"}}, UsageError, "did you mean 'audio'"),
        ({"root": "."}, DataError, "no column 'audio'"),
        ({"root": ".", "table": "other.csv"}, DataError, "not there"),
        ({"root": ".", "columns": {"audio": "path"}}, DataError, "no column 'path'"),
    ],
)
def test_own_folder_errors(
    options: dict[str, object], error: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "metadata.csv", [{"file": "a.wav", "emotion": "joy"}])
    with pytest.raises(error, match=words):
        load_corpus("folder", **options)


def test_unknown_corpus_suggests_a_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'emospeech'"):
        load_corpus("emospech")


TEXT = st.text(st.characters(exclude_characters="\r\n\x00", exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(TEXT, min_size=1, max_size=6),
    labels=st.lists(st.sampled_from(["", *LABELS]), min_size=6, max_size=6),
    delimiter=st.sampled_from(",;\t"),
)
def test_own_folder_keeps_every_cell(
    texts: list[str], labels: list[str], delimiter: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("own")
    rows = [
        {"audio": f"{i}.wav", "transcription": text, "label": label}
        for i, (text, label) in enumerate(zip(texts, labels, strict=False))
    ]
    write_table(root / "metadata.csv", rows, delimiter)
    corpus = load_corpus("folder", root=root)
    assert list(corpus.frame["transcription"]) == [r["transcription"] for r in rows]
    assert list(corpus.frame["label"]) == [r["label"] for r in rows]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("id,transcription,label,label\na,x,joy,fear\n", "column 'label' more than once"),
        ("id,transcription,label, label\na,x,joy,fear\n", "column 'label' more than once"),
        ("audio,transcription\na\0.wav,x\n", "not a text file"),
        ("id,transcription\na,x,y\n", "expected 2 cells in row 2, saw 3"),
        ("id,transcription,start_ms,end_ms\na,x,0,inf\n", "'inf' is not a time"),
        ("id,transcription,start_ms,end_ms\na,x,0,1e300\n", "'1e300' is not a time"),
        ("id,transcription\n  ,x\n", "row 1 has no id"),
    ],
)
def test_own_folder_refuses_a_table_that_can_be_misread(table: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text(table)
    with pytest.raises(DataError, match=words):
        load_corpus("folder", root=tmp_path)


def test_own_folder_reads_what_people_write(tmp_path: Path) -> None:
    words = ["NA", "null", "nan", "None"]
    lines = [f"00{n}, {word},joy , train, S1 ,," for n, word in enumerate(words)]
    (tmp_path / "metadata.csv").write_bytes("\r".join(["id, transcription,label,split,speaker,,", *lines, ""]).encode())
    frame = load_corpus("folder", root=tmp_path).frame
    assert list(frame["id"]) == ["000", "001", "002", "003"]
    assert list(frame["transcription"].str.strip()) == words
    assert set(frame["label"]) == {"joy"}
    assert set(frame["split"]) == {"train"}
    assert set(frame["speaker"]) == {"S1"}


def test_own_folder_of_audio_that_is_a_link_to_itself_loads(tmp_path: Path) -> None:
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    write_table(tmp_path / "metadata.csv", [{"audio": "loop.wav", "transcription": "hola"}])
    assert "missing audio" in [finding.kind for finding in check(load_corpus("folder", root=tmp_path))]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"root": ".", "tabel": "x"}, "did you mean 'table'"),
        ({"root": 5}, "option 'root' of corpus 'folder' cannot be 5"),
        ({"root": ".", "labels": ["anger"]}, "option 'labels'"),
        ({"root": ".", "columns": {"audio": 1}}, r"option 'columns\.audio'"),
        ({"root": "~no-such-user/x"}, "leads nowhere"),
    ],
)
def test_own_folder_options_are_checked(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_corpus("folder", **options)


def own_table(folder: Path, text: str, name: str = "metadata.csv", **options: object) -> Corpus:
    (folder / name).write_text(text, encoding="utf-8")
    return load_corpus("folder", root=folder, table=name, **options)


def test_a_lone_quotation_mark_swallows_no_clips(tmp_path: Path) -> None:
    rows = [f"{n};frase número {n};joy" for n in range(72)]
    rows[10], rows[40] = '10;"tengo miedo;fear', '40;dijo que no";anger'
    text = "\n".join(["id;transcription;label", *rows]) + "\n"
    with pytest.raises(DataError, match=r"row 12: a cell holds 31 lines, 29 like rows .* lone quotation mark"):
        own_table(tmp_path, text)
    read = own_table(tmp_path, text.replace(";", "\t"), "metadata.tsv")
    assert (len(read), read.frame["transcription"][10], read.frame["label"][40]) == (72, '"tengo miedo', "anger")
    with pytest.raises(DataError, match="lone quotation mark"):
        own_table(tmp_path, text.replace(";", "\t"), "metadata.tsv", quoted=True)


def test_a_line_break_in_a_cell_is_text_where_it_looks_like_no_row(tmp_path: Path) -> None:
    read = own_table(tmp_path, 'id,transcription,label\na,"hola\n¿qué tal, María?",joy\nb,"dijo ""no""",anger\n')
    assert list(read.frame["transcription"]) == ["hola\n¿qué tal, María?", 'dijo "no"']


def test_tables_as_spreadsheets_leave_them(tmp_path: Path) -> None:
    text = (
        "sep=;\nid;audio;transcription;label;split\na;wav\\a.wav;hola;joy;Train\nb;;no;anger;TEST\nc;;sí\n;;;;\n;;;;\n"
    )
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav" / "a.wav").write_bytes(b"")
    read = own_table(tmp_path, text)
    assert list(read.frame["id"]) == ["a", "b", "c"]
    assert list(read.frame["split"]) == ["train", "test", ""]
    assert read.frame["audio"][0] == str(tmp_path / "wav" / "a.wav")
    assert read.short_rows == ("c",)
    assert [f.clip for f in check(read) if f.kind == "row that lacks cells"] == ["c"]


def test_names_and_labels_are_compared_in_one_unicode_form(tmp_path: Path) -> None:
    composed, apart = "corazón.wav", unicodedata.normalize("NFD", "corazón.wav")
    (tmp_path / apart).write_bytes(b"")
    text = f"audio,label\n{composed},{unicodedata.normalize('NFD', 'Alegría')}\n"
    read = own_table(tmp_path, text, labels={"Alegría": "joy"})
    assert read.frame["audio"][0] == str(tmp_path / apart)
    assert list(read.frame["label"]) == ["joy"]
    seen = own_table(tmp_path, "id,transcription,label\na,x,Ira\nb,y, Ira\u200b\nc,z,Ira\u00a0\n")
    assert seen.labels == ("Ira",)


def test_labels_that_differ_in_case_only_are_found(tmp_path: Path) -> None:
    read = own_table(tmp_path, "id,transcription,label\na,x,Joy\nb,y,joy\nc,z,Ira\nd,w,ira\n")
    found = [f.message for f in check(read) if f.kind == "similar labels"]
    assert len(found) == 2
    assert "--label Joy=joy" in found[0]
    assert "'Ira' and 'ira'" in found[1]


def test_our_side_of_a_label_is_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'angre' is no label of the six \(did you mean 'anger'\?\)"):
        own_table(tmp_path, "id,transcription,label\na,x,Ira\n", labels={"Ira": "angre"})
    assert own_table(tmp_path, "id,transcription,label\na,x,Ira\n", labels={"Ira": "calm"}).labels == ("calm",)
    assert own_table(tmp_path, "id,transcription,label\na,x,Ira\n", labels={"Ira": "Ärger"}).labels == ("Ärger",)


def test_a_corpus_without_labels_and_times_in_seconds_are_found(tmp_path: Path) -> None:
    read = own_table(tmp_path, "id,transcription,emoción,start_ms,end_ms\na,x,Ira,1.5,4.5\nb,y,Ira,10,12.25\n")
    assert {"no labels", "times in seconds"} <= {str(f.kind) for f in check(read)}


def test_a_table_of_a_western_spreadsheet_is_read_and_said(tmp_path: Path) -> None:
    """Italian, nested by speaker, Windows' separators, semicolons and letters; the needed options are offered."""
    table = "Percorso;Trascrizione;Emozione;Parlante;Durata\r\nNiccolò\\a.wav;perché no;Gioia ;Niccolò;2,35\r\n"
    (tmp_path / "elenco.csv").write_bytes(table.encode("cp1252"))
    (tmp_path / "Niccolò").mkdir()
    (tmp_path / "Niccolò/a.wav").touch()
    with pytest.raises(DataError, match=r"such as --table elenco\.csv"):
        load_corpus("folder", root=tmp_path)
    with (
        pytest.warns(UserWarning, match="is read as Windows-1252: if letters are wrong"),
        pytest.raises(DataError, match="label=Emozione --column transcription=Trascrizione --column audio=Percorso"),
    ):
        load_corpus("folder", root=tmp_path, table="elenco.csv")
    columns = {"audio": "Percorso", "transcription": "Trascrizione", "label": "Emozione", "speaker": "Parlante"}
    with pytest.warns(UserWarning):
        corpus = load_corpus("folder", root=tmp_path, table="elenco.csv", columns=columns)
    [row] = corpus.frame.to_dict("records")
    assert (row["transcription"], row["label"], row["speaker"]) == ("perché no", "Gioia", "Niccolò")
    assert Path(row["audio"]).is_file()
