"""The tables of the ledger's page: nothing is left out, and costs are those that are counted elsewhere."""

from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from emoser_lib.experiments.runs.records import published_records
from emoser_lib.reporting.ledger import results
from emoser_lib.reporting.ledger.verdicts import LedgerEntry, ledger


@pytest.fixture(scope="module")
def entries() -> list[LedgerEntry]:
    return ledger()


def test_every_claim_is_a_row_with_its_verdict_and_where_it_is_told_of(entries: list[LedgerEntry], root: Path) -> None:
    page = BeautifulSoup(results.ledger_list(entries).data, "html.parser")
    rows = page.select("tbody tr")
    cells = [[cell.text for cell in row.select("td")] for row in rows]
    assert [(row[0], row[1]) for row in cells] == [(e.claim.text, e.finding.verdict) for e in entries]
    told = results.chapters_that_cite()
    assert told["thau-clips-test"].startswith("0") and told["thau-clips-test"].endswith("#claim-thau-clips-test")
    links = [link["href"] if (link := row.select_one("a")) else "" for row in rows]
    assert [link for link in links if "#" in link] == [told[e.claim.id] for e in entries if e.claim.id in told]
    assert all((root / "notebooks" / f"{link.partition('.html')[0]}.ipynb").is_file() for link in links if link)
    assert page.select("select[name=verdict] option")[0].text == "all"


def test_a_claim_is_a_text_whatever_it_holds(entries: list[LedgerEntry]) -> None:
    hostile = entries[0].claim.model_copy(
        update={"id": "a' onclick='x", "text": "<script>", "paper": "</td>", "place": "`x`"}
    )
    found = entries[0].finding.model_copy(update={"notebook": "05' onclick='x"})
    page = results.ledger_list([entries[0].model_copy(update={"claim": hostile, "finding": found})]).data
    assert "<script>" not in page and page.count("</td>") == 7 and "`" not in page
    read = BeautifulSoup(page, "html.parser")
    assert [row.attrs for row in read.select("tbody tr")] == [{"id": "ledger-a' onclick='x"}]
    assert [link.attrs for link in read.select("a")] == [{"href": "05' onclick='x.html"}]


def test_the_commands_are_those_of_what_nothing_answers(entries: list[LedgerEntry]) -> None:
    table = results.commands(entries)
    needing = [entry for entry in entries if entry.finding.verdict.startswith("needs")]
    assert table["claims"].sum() == len(needing)


def test_table_3_has_the_six_systems_and_the_printed_intervals(entries: list[LedgerEntry]) -> None:
    table = results.table_3(entries)
    assert len(table) == 6
    assert (table["rebuilt ±"] - table["printed ±"]).abs().max() < 2.5e-4
    assert (table["measured"] == "–").all(), "no run of the paper's own is recorded"


def test_recorded_trainings_show_what_they_cost() -> None:
    table = results.measured_costs()
    trained = [record for record in published_records() if "seconds" in record.metrics]
    assert len(table) == len(trained)
    assert (table["training, minutes"] > 1).all()
    assert table.loc["08-whisper-gemma, speaker", "n"] == 1131
    lora = table.loc["05-gemma-lora, test"]
    assert lora["the other labels, all clips"] == pytest.approx(0.679, abs=5e-4)
    assert table.loc[table["corpus"] == "elicited_es", "the other labels, all clips"].isna().all(), "no label is rare"


def test_planned_costs_are_those_that_the_facts_state() -> None:
    """facts/papers.md: adapters and projectors."""
    table = results.planned_costs()
    trained = {round(value, 3) for value in table["trained, millions"]}
    assert {33.554, 134.218, 2.623, 1.575} <= trained
    assert (table["memory, GB"] < 41).all()
    assert set(table.index) == {f"{notebook}, {run}" for notebook, run in results.PLANNED}


def test_efficiency_has_table_3_at_planned_costs_and_recorded_runs_at_their_own(entries: list[LedgerEntry]) -> None:
    table = results.efficiency(entries)
    printed = table[table["source"] == "printed"]
    assert len(printed) == 6
    assert (printed["evaluated on"] == "emospeech, test").all()
    assert printed.loc["Whisper-Gemma", "trained, millions"] == pytest.approx(2.623, abs=1e-3)
    recorded = table[table["source"] != "printed"]
    assert "whisper-gemma" in recorded.index
    assert recorded.index.str.match(r"gemma-lora, mean of \d seeds").sum() == 1
    assert recorded["parameters, billions"].max() < 1
    by_speaker = recorded["evaluated on"].str.contains("speaker")
    assert (recorded["drawn by"] == by_speaker.map({True: "speaker", False: "clip"})).all()
    assert not table["evaluated on"].str.contains("fold 0").any(), "a run that chose settings is no result"
    # Twice the matrices' parameters for each token: of Gemma 2B, 1.98 billion without the embeddings, 184 tokens.
    assert printed.loc["Gemma, rank 32 and alpha 32", "GFLOP a clip"] == pytest.approx(2 * 1.98 * 184, rel=0.02)
    assert recorded["GFLOP a clip"].max() < printed["GFLOP a clip"].min()
