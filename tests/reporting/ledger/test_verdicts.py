"""The ledger: a verdict and a reason for each claim, none of them better than what was measured."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner

from emoser_lib.cli import emoser
from emoser_lib.errors import DataError, UsageError
from emoser_lib.experiments.runs.records import Record, published_records
from emoser_lib.reporting.ledger import rules
from emoser_lib.reporting.ledger import verdicts as ledger
from emoser_lib.reporting.ledger.checks import CHECKS, LORA
from emoser_lib.reporting.ledger.claims import NEEDS, UNKNOWN, Claim, ClaimFinding, Verdict
from emoser_lib.reporting.ledger.verdicts import LedgerEntry


@pytest.fixture(scope="module")
def entries() -> list[LedgerEntry]:
    return ledger.ledger()


@pytest.fixture(scope="module")
def by_id(entries: list[LedgerEntry]) -> dict[str, LedgerEntry]:
    return {entry.claim.id: entry for entry in entries}


def record(profile: str = "small", run: str = "r", notebook: str = "05-gemma-lora", **metrics: Any) -> Record:
    known = published_records("01-corpus")[0]
    return known.model_copy(update={"profile": profile, "run": run, "notebook": notebook, "metrics": metrics})


def scores(**systems: tuple[float, float, float]) -> dict[str, dict[str, float]]:
    return {
        name: {"macro_f1": value, "low": low, "high": high, "uar": value, "uar_low": low, "uar_high": high}
        for name, (low, value, high) in systems.items()
    }


def claim(answer: dict[str, Any], value: float | None = 0.5, printed: str = "0.5000", **more: Any) -> Claim:
    given = {
        "id": "c",
        "paper": "P",
        "place": "here",
        "text": "t",
        "value": value,
        "printed": printed,
        "answer": answer,
    }
    return Claim.model_validate(given | more)


def found(one: Claim, *records: Record) -> ClaimFinding:
    return ledger.find(one, {}, {f"{r.notebook}-{r.profile}-{r.run}": r for r in records})


def test_every_claim_has_a_verdict_and_a_reason(entries: list[LedgerEntry]) -> None:
    for entry in entries:
        assert entry.finding.verdict in get_args(Verdict), entry.claim.id
        assert len(entry.finding.reason) > 10, entry.claim.id
        assert entry.finding.reason.endswith("."), entry.claim.id


def test_no_score_of_the_papers_is_answered_by_another_profile(entries: list[LedgerEntry]) -> None:
    """A small run answers the direction of a statement, never the paper's own number."""
    for entry in entries:
        if entry.claim.metric and entry.finding.profile != "paper":
            assert entry.finding.verdict in (NEEDS, UNKNOWN), entry.claim.id
        if entry.finding.verdict == "reproduced" and entry.finding.record:
            assert entry.finding.record == "01-corpus-small-emospeech", "the challenge's own tables"


def test_no_verdict_rests_on_overlap(entries: list[LedgerEntry]) -> None:
    assert [entry.claim.id for entry in entries if "overlap" in entry.finding.reason] == []


def test_what_needs_a_gpu_names_the_one_command(entries: list[LedgerEntry]) -> None:
    needing = [entry.finding for entry in entries if entry.finding.verdict == NEEDS]
    assert len(needing) > 20
    for one in needing:
        assert one.command.startswith(f"emoser run {one.notebook} --profile paper --only "), one


def test_the_known_verdicts(by_id: dict[str, LedgerEntry]) -> None:
    """Worked out by hand from facts/papers.md and the records."""
    expected = {
        "thau-clips": "reproduced",
        "thau-confidence": "reproduced",
        "thau-qwen-parameters": "reproduced",
        "thau-whisper-gemma-parameters": "differs",
        "thau-table3-qwen-r256": NEEDS,
        "thau-figure5-cells": UNKNOWN,
        "thau-comparable": NEEDS,
        "thau-qwen-not-significant": NEEDS,
        "thau-coverage": "differs",
        "thau-whisper-better": "consistent",
        "thau-sound-helps": UNKNOWN,
        "thau-text-hypothesis": "too imprecise to tell",
        "thau-projector-hypothesis": "too imprecise to tell",
        "thau-smaller-effective": UNKNOWN,
        "thau-batch-limit": UNKNOWN,
        "thau-gemma-multilingual": "differs",
        "thau-qwen-no-bias": "differs",
        "thau-qwen-emotion-task": "consistent",
        "emosllm-versatile": UNKNOWN,
        "emosllm-competitive": UNKNOWN,
        "emosllm-rank": UNKNOWN,
    }
    assert {name: by_id[name].finding.verdict for name in expected} == expected
    assert by_id["thau-whisper-gemma-parameters"].finding.measured == "3.146"


def test_the_summary_contradicts_itself_and_the_claims_say_so(by_id: dict[str, LedgerEntry]) -> None:
    for name in ("emosllm-rank", "emosllm-nearly-all", "emosllm-fewer-parameters", "emosllm-trained-parameters"):
        assert "contradicts itself" in by_id[name].finding.reason


def test_the_text_hypothesis_is_judged_by_all_seeds(by_id: dict[str, LedgerEntry]) -> None:
    """Their mean is measured, and a seed that says the contrary leaves it open, whatever the mean."""
    records = {one.name: one for one in published_records()}
    seeds = [one for one in records.values() if one.name.startswith(LORA)]
    leads = [one.metrics["macro_f1"] - one.metrics["scores"]["text-svm"]["macro_f1"] for one in seeds]
    entry = by_id["thau-text-hypothesis"]
    told = f"mean of {len(seeds)} seeds, less text-svm: {sum(leads) / len(leads):.4f}"
    assert told in entry.finding.measured and "do not all say the same" not in entry.finding.reason
    worse = seeds[0].model_copy(deep=True, update={"run": "worse"})
    worse.parameters["seed"] = 9
    worse.metrics["scores"]["gemma-lora"] = {"macro_f1": 0.5, "low": 0.49, "high": 0.51}
    found = CHECKS["text_hypothesis"](entry.claim, {}, {**records, worse.name: worse})
    assert found.verdict == "too imprecise to tell" and "The seeds do not all say the same." in found.reason
    assert f"mean of {len(seeds) + 1} seeds" in found.measured


def test_every_check_is_used(entries: list[LedgerEntry]) -> None:
    used = {entry.claim.answer.name for entry in entries if entry.claim.answer.kind == "computed"}
    assert used == set(CHECKS)


@pytest.mark.parametrize(
    ("more", "than", "verdict"),
    [
        ((0.6, 0.7, 0.8), (0.3, 0.4, 0.5), "consistent"),
        ((0.3, 0.4, 0.5), (0.6, 0.7, 0.8), "differs"),
        ((0.5, 0.7, 0.9), (0.2, 0.5, 0.7), "too imprecise to tell"),
        ((0.62, 0.7, 0.78), (0.5, 0.62, 0.68), "too imprecise to tell"),
        # The intervals overlap, and the interval of the difference leaves out zero: overlap is no test.
        ((0.62, 0.7, 0.78), (0.52, 0.58, 0.64), "consistent"),
    ],
)
def test_a_direction_holds_beyond_the_interval_of_the_difference(more: Any, than: Any, verdict: str) -> None:
    first, second = (rules.Estimate(value, low, high) for low, value, high in (more, than))
    assert rules.judged_order([rules.difference_of(first, second)], ["a less b"]).verdict == verdict


def test_a_score_is_never_read_from_a_small_run() -> None:
    asked = {"kind": "record", "record": "05-gemma-lora-small-r", "at": "macro_f1"}
    one = claim(asked, metric="macro-F1", split="test", n=750)
    with pytest.raises(DataError, match="only the profile paper can answer it"):
        found(one, record(macro_f1=0.5))


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ((0.46, 0.50, 0.54), "reproduced"),
        ((0.46, 0.53, 0.60), "reproduced"),
        ((0.44, 0.55, 0.66), "too imprecise to tell"),
        ((0.10, 0.55, 0.99), "too imprecise to tell"),
        ((0.51, 0.53, 0.55), "differs"),
        ((0.58, 0.62, 0.66), "differs"),
    ],
)
def test_a_score_earns_nothing_by_a_wide_interval(ours: tuple[float, float, float], verdict: str) -> None:
    """The paper's ± around .5 of 750 clips is .0358."""
    asked = {"kind": "needs", "notebook": "05-gemma-lora", "run": "best", "asks": {"of": "score", "row": "ours"}}
    one = claim(asked, metric="macro-F1", split="test", n=750)
    assert found(one).verdict == NEEDS
    told = found(one, record("paper", "best", macro_f1=ours[1], scores=scores(ours=ours, other=(0.1, 0.2, 0.3))))
    assert (told.verdict, told.system, told.profile) == (verdict, "ours", "paper")
    small = record("small", "best", macro_f1=ours[1], scores=scores(ours=ours))
    assert found(one, small).verdict == NEEDS
    with pytest.raises(DataError, match="none of 'ours': mend the claim"):
        found(one, record("paper", "best", scores=scores(other=ours)))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"kind": "record", "record": "nowhere", "at": "n"}, "has no nowhere.json"),
        ({"kind": "record", "record": "05-gemma-lora-small-r", "at": "a.c"}, "has no metric 'a.c'"),
        ({"kind": "computed", "name": "guess"}, "no check 'guess'"),
        ({"kind": "setting", "notebook": "05-gemma-lora", "run": "grid", "parameter": "epochs"}, "mend one of them"),
    ],
)
def test_a_claim_that_points_nowhere_ends_it(answer: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        found(claim(answer), record(a={"b": 1.0}))


def test_a_run_that_the_profile_does_not_have_ends_it() -> None:
    with pytest.raises(UsageError, match="has no run 'bets' of 05-gemma-lora"):
        found(
            claim(
                {"kind": "needs", "notebook": "05-gemma-lora", "run": "bets", "asks": {"of": "best", "column": "rank"}}
            )
        )


def test_the_command_prints_json_and_sentences(entries: list[LedgerEntry]) -> None:
    done = CliRunner().invoke(emoser, ["ledger", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert [one["claim"]["id"] for one in told] == [entry.claim.id for entry in entries]
    assert set(told[0]["finding"]) >= {"verdict", "reason", "measured", "low", "high", "profile", "record"}
    few = CliRunner().invoke(emoser, ["ledger", "--verdict", "differs"])
    assert few.output.startswith("Of the papers' 14 scores, 0 were measured again")
    assert "thau-whisper-gemma-parameters" in few.output
    assert "thau-clips-test" not in few.output
    wrong = CliRunner().invoke(emoser, ["ledger", "--verdict", "difers"])
    assert "did you mean 'differs'" in str(wrong.exception)


def test_outside_of_a_checkout_it_says_where_to_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emoser_lib.reporting.ledger.claims.shipped_files", lambda: tmp_path)
    with pytest.raises(DataError, match="work in a checkout"):
        ledger.ledger()
