"""The record of `make test-cluster`: of this code, and every run with the scores of the undisturbed sweep."""

from pathlib import Path

from emoser_lib.reporting.book.checks import read_checks


def test_the_record_is_of_this_code_and_every_score_is_the_same(root: Path) -> None:
    [found] = [check for check in read_checks(root / "book") if check.command == "make test-cluster"]
    assert not found.is_stale, "what it covers has changed: `make test-cluster`"
    came = dict(found.rows)
    assert came["runs with the scores of the local sweep"] == "10 of 10"
    done = ("memory of a job", "cancelled", "node killed", "driver killed", "second call", "longer than")
    assert all(any(what in str(row) for row in came) for what in done)
    assert not any("NOT" in str(said) for said in came.values())
