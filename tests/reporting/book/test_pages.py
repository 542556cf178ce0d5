"""Pages: what a record says is what a reader sees, and text from strangers stays text."""

import json
import re
from html import unescape
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from emoser_lib.corpora import Corpus
from emoser_lib.corpora.corpus import build_frame
from emoser_lib.errors import DataError
from emoser_lib.experiments.runs.records import (
    CorpusUsed,
    Record,
    RunStatus,
    published_records,
    read_record,
    write_record,
)
from emoser_lib.reporting import listen, recorded_tables, show
from emoser_lib.reporting.book.pages import run_card, stage_book, status_page, with_run_card, with_words

HOSTILE = "<script>alert(1)</script>"


def record(**changed: object) -> Record:
    told = {
        "notebook": "09-try", "profile": "demo", "run": "one", "key": "demo-12345678", "command": "emoser run 09-try",
        "status": RunStatus.OK, "parameters": {"seed": 0}, "seconds": 12.3, "peak_memory_mb": 456.0,
        "corpus": CorpusUsed(name="demo", sha256="ab" * 32, clips=500), "versions": {"python": "3.11"},
        "hardware": {"cpu": "a", "cores": 2, "memory_gb": 8.0}, "commit": "c0ffee", "date": "2026-01-02T03:04:05Z",
    }  # fmt: skip
    return Record(**(told | changed))


def executed(title: str = "# A title\n\nText.") -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(title)])


def stage(tmp_path: Path, made: Record) -> Path:
    """Lay out a book with one run; returns the staged folder."""
    (tmp_path / "book").mkdir(exist_ok=True)
    (tmp_path / "book" / "index.md").write_text("# Book\n")
    run = tmp_path / "runs" / "09-try" / made.key
    run.mkdir(parents=True, exist_ok=True)
    write_record(run / "record.json", made)
    (tmp_path / "notebooks").mkdir(exist_ok=True)
    for folder in (run, tmp_path / "notebooks"):
        nbformat.write(executed(), folder / "09-try.ipynb")
    stage_book(tmp_path / "book", tmp_path / "notebooks", tmp_path / "runs", [run], tmp_path / "out")
    return tmp_path / "out"


def test_the_card_says_what_ran_and_a_demo_says_what_it_is_not() -> None:
    card = run_card(record())
    for word in ("emoser-run-card-demo", "500 clips", "seed = 0", "12 s", "456 MB", "c0ffee", "emoser run 09-try"):
        assert word in card
    assert "say nothing about the papers" in card
    real = run_card(record(profile="small", corpus=CorpusUsed(name="emospeech", sha256="cd" * 32, clips=3750)))
    assert "say nothing about the papers" not in real
    assert "emoser-run-card-small" in real
    assert "href='runs/09-try-demo-12345678.json'" in card


def test_the_card_says_what_was_derived_from_the_corpus_and_found_in_it() -> None:
    assert "<th scope='row'>notes</th>" not in run_card(record())
    assert "<td>3 clips have no label. It is &#60;b&#62;.</td>" in run_card(
        record(notes=["3 clips have no label.", "It is <b>."])
    )


def test_the_card_stands_below_the_opening_and_code_is_folded_that_is_no_lesson() -> None:
    cell = nbformat.v4.new_code_cell
    cells = [cell(tag, metadata={"tags": [tag]}) for tag in ("opening", "parameters", "teach", "hide-cell")]
    page = with_run_card(nbformat.v4.new_notebook(cells=[*executed().cells, *cells, cell("x")]), record())
    assert [one.source.startswith("<div class='emoser-run-card") for one in page.cells].index(True) == 2
    folded = [one.source for one in page.cells if "hide-input" in one.metadata.get("tags", [])]
    assert folded == ["opening", "parameters", "x"]
    late = nbformat.v4.new_notebook(cells=[*executed().cells, cell("x"), cells[0]])
    assert [one.source for one in with_run_card(late, record()).cells][1] == "opening", (
        "what the run found is drawn above"
    )
    assert with_run_card(executed(), record()).cells[1].source.startswith("<div class='emoser-run-card")
    with pytest.raises(DataError, match="does not begin with a title"):
        with_run_card(executed("no title"), record())


def test_parameters_of_a_run_are_shown_where_they_differ() -> None:
    cell = nbformat.v4.new_code_cell
    source = nbformat.v4.new_notebook(
        cells=[cell('a: float = 1e-2  # help\nb: str = "x"\nc: dict = {}', metadata={"tags": ["parameters"]})]
    )
    ran = nbformat.from_dict(source)
    given = cell("# Parameters\na = 0.01\nb = 'y'\nc = {}", metadata={"tags": ["injected-parameters"]})
    ran.cells.append(given)
    assert [one.source for one in with_words(ran, source, record()).cells][1:] == ["b = 'y'"]
    ran.cells[1].source = '# Parameters\na = 0.01\nb = "x"\nc = {}'
    assert len(with_words(ran, source, record()).cells) == 1


def test_only_runs_that_are_ok_become_pages(tmp_path: Path) -> None:
    out = stage(tmp_path, record())
    reference = [f"api-{layer}.md" for layer in ("corpora", "experiments", "reporting", "systems")]
    assert sorted(p.name for p in out.iterdir()) == ["09-try.ipynb", *reference, "extra", "index.md", "status.md"]
    assert (out / "extra" / "runs" / "09-try-demo-12345678.json").is_file()
    with pytest.raises(DataError, match="is failed, not ok"):
        stage(tmp_path, record(status=RunStatus.FAILED, error="ValueError: no"))


def test_staging_again_leaves_unchanged_files_alone_and_removes_old_ones(tmp_path: Path) -> None:
    out = stage(tmp_path, record())
    (out / "old.md").write_text("old")
    before = (out / "index.md").stat().st_mtime_ns
    stage(tmp_path, record())
    assert not (out / "old.md").exists()
    assert (out / "index.md").stat().st_mtime_ns == before


def test_the_status_page_shows_failures_with_their_reason() -> None:
    page = status_page([record(), record(status=RunStatus.KILLED, error=f"the run was killed {HOSTILE}")], [])
    assert "killed" in page
    assert HOSTILE not in page
    assert "None yet." in page


def test_the_status_page_shows_which_chapters_took_which_corpora(tmp_path: Path) -> None:
    out = stage(tmp_path, record())
    assert "Chapters and corpora\n\n" in (out / "status.md").read_text()
    checks = tmp_path / "book" / "chapters.json"
    checks.write_text(json.dumps({"09": {"outcomes": {"no text": "refused: set <b>", HOSTILE: "ok"}}}))
    page = (stage(tmp_path, record()) / "status.md").read_text()
    assert "<th scope='row'>no text</th><td>refused</td>" in page
    assert HOSTILE not in page
    assert not (tmp_path / "out" / "chapters.json").exists()


def test_committed_records_are_linked_and_staged(tmp_path: Path) -> None:
    real = record(profile="small", run="real", key="small-1")
    write_record(tmp_path / "book" / "records" / "09-try-small-real.json", real)
    out = stage(tmp_path, record())
    assert "href='records/09-try-small-real.json'" in (out / "status.md").read_text()
    assert read_record(out / "extra" / "records" / "09-try-small-real.json") == real


def test_a_record_names_no_folder_of_a_machine_and_nothing_acts_in_it(tmp_path: Path) -> None:
    home, error = "/ho" + "me/ana", "DataError: {}/my clips/a.wav is not there\x1b[2J"
    for folder, shown in ((home, "~"), ("C:\\Users\\ana", "~"), ("/scratch/ana", "…"), ("/media/ana/disk/x", "…")):
        options = {"root": f"{folder}/my clips", "labels": {"x": f"{folder}/y"}}
        made = record(
            status=RunStatus.FAILED, error=error.format(folder), parameters={"corpus_options": options},
            command=f"emoser run 01-corpus -p corpus_options '{json.dumps(options)}'", metrics={"llm": f"{folder}/llm"},
        )  # fmt: skip
        write_record(tmp_path / "record.json", made)
        assert "ana" not in (tmp_path / "record.json").read_text().lower(), folder
        assert read_record(tmp_path / "record.json") == made
        assert made.parameters["corpus_options"]["root"] == f"{shown}/my clips"
        assert made.error == f"DataError: {shown}/my clips/a.wav is not there\\u001b[2J"
    address = record(error="see https://huggingface.co/google/gemma-2b and emoser/demo-gemma, 1/2/3 or ../a/b")
    assert address.error == "see https://huggingface.co/google/gemma-2b and emoser/demo-gemma, 1/2/3 or ../a/b"


def test_transcriptions_and_table_cells_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"x")
    frame = build_frame({"id": ["a"], "audio": [str(tmp_path / "a.mp3")], "transcription": [HOSTILE], "label": ["joy"]})
    assert HOSTILE not in listen(Corpus("mine", frame), ["a"]).data
    assert HOSTILE not in show(pd.DataFrame({"text": [HOSTILE]}, index=[HOSTILE])).data


def test_a_table_cuts_nothing_and_rounds_only_fractions() -> None:
    html = show(pd.DataFrame({"n": [1166, 23], "F1": [0.12345, None], "text": ["a" * 200, "b"]}, index=["x", "y"])).data
    assert "1,166" in html
    assert "0.123<" in html
    assert "a" * 200 in html
    assert "nan" not in html.lower()
    assert "None" not in show(pd.DataFrame({"videos": [None, None], "clips": [1, 2]})).data


def cells_of(table: pd.DataFrame) -> tuple[str, list[str]]:
    """The caption of a shown table, and its cells row by row."""
    html = unescape(show(table).data)
    caption = re.findall(r"<caption>(.*?)</caption>", html)
    return " ".join(caption), re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", html)


def test_what_all_rows_have_in_common_is_said_once_above_them() -> None:
    table = pd.DataFrame({"n": [1200, 1200], "run": ["a_b"] * 2, "F1": [0.5, 0.5], "p": ["", ""]}, index=["x", "y"])
    assert cells_of(table) == ("In all rows: n 1,200 · run a_b.", ["", "F1", "x", "0.500", "y", "0.500"])
    corpora = pd.DataFrame({"corpus": ["one"] * 2, "scheme": ["p", "v"], "F1": [0.5, 0.6]}).set_index("corpus")
    assert cells_of(corpora) == ("In all rows: corpus one.", ["", "F1", "p", "0.500", "v", "0.600"])
    assert cells_of(table.head(1))[0] == cells_of(table[["n", "run"]])[0] == ""


def test_a_count_by_label_stays_in_its_table_though_all_rows_have_the_same() -> None:
    counts = pd.DataFrame({"joy": [4, 4], "anger": [3, 5]}, index=["ana", "eva"]).rename_axis(columns="label")
    assert cells_of(counts) == ("", ["", "joy", "anger", "ana", "4", "3", "eva", "4", "5"])


def test_a_column_of_which_nothing_is_known_is_left_out_without_a_word() -> None:
    table = pd.DataFrame({"measured": ["–", "–"], "verdict": ["open", "holds"]}, index=["a", "b"])
    assert cells_of(table) == ("", ["", "verdict", "a", "open", "b", "holds"])


def test_a_model_has_a_short_name_and_a_note() -> None:
    names = ["google/gemma-3-270m (base, de-quantised)", "openai/whisper-base (speech), google/gemma-3-270m (it)"]
    caption, cells = cells_of(pd.DataFrame({"model": names[:1] * 2 + ["a/b"], "F1": [0.1, 0.2, 0.3]}))
    assert caption == "gemma-3-270m is google/gemma-3-270m (base, de-quantised), b is a/b."
    assert cells == ["model", "F1", "gemma-3-270m", "0.100", "gemma-3-270m", "0.200", "b", "0.300"]
    alike = pd.DataFrame({"F1": [0.1, 0.2]}, index=pd.Index(names, name="model"))
    assert cells_of(alike) == ("", ["", "F1", names[0], "0.100", names[1], "0.200"]), "two models of one name"
    assert HOSTILE not in show(pd.DataFrame({"model": [f"a/b ({HOSTILE})", "c/d"], HOSTILE: [HOSTILE] * 2})).data


def test_pages_say_what_a_run_computed_with(tmp_path: Path) -> None:
    used = {"name": "a/model", "sha256": "ef" * 32, "device": "cuda", "dtype": "bfloat16"}
    computing = {"accelerator": "H200", "accelerator_memory_mb": 71234, "processes": 1}
    made = record(checkpoints=[used], computing=computing)
    for page in (run_card(made), status_page([made], [])):
        assert "cuda, bfloat16" in page
        assert "H200, 71,234 MB at most" in page
    on_cpu = run_card(record(computing=computing | {"accelerator": None, "accelerator_memory_mb": None}))
    assert "<th scope='row'>accelerator</th><td>none</td>" in on_cpu
    assert "<th scope='row'>device and precision</th><td>no model</td>" in on_cpu
    assert "not recorded" not in on_cpu


def test_an_old_record_is_read_and_what_it_lacks_is_not_recorded(tmp_path: Path) -> None:
    old = record(checkpoints=[{"name": "a/model", "sha256": "ef" * 32}], commit=None).model_dump(mode="json")
    del old["computing"], old["checkpoints"][0]["device"], old["checkpoints"][0]["dtype"]
    path = tmp_path / "record.json"
    path.write_text(json.dumps(old | {"schema_version": 1}))
    for name in ("device and precision", "accelerator", "processes"):
        assert f"<th scope='row'>{name}</th><td>not recorded</td>" in run_card(read_record(path))
    assert "not recorded, 2026-01-02" in run_card(read_record(path))
    assert status_page([read_record(path)], []).count("not recorded") == 3
    path.write_text(json.dumps(old | {"schema_version": 3}))
    with pytest.raises(DataError, match="is not a record"):
        read_record(path)


def test_tables_of_provenance_say_what_was_not_recorded() -> None:
    table = recorded_tables.recorded("03-classical", "provenance")
    recorded = [made.schema_version for made in published_records("03-classical")]
    assert list(table["accelerator"] == "not recorded") == [version == 1 for version in recorded]
