"""`emoser ledger`: every claim of the papers and what follows from what was measured."""

from collections import Counter

import click

from emoser_lib.cli.options import json_option, print_json
from emoser_lib.reporting.ledger.claims import NEEDS
from emoser_lib.reporting.ledger.verdicts import check_verdict, scores_measured
from emoser_lib.reporting.ledger.verdicts import ledger as entries


@click.command()
@click.option("--verdict", help="Only claims with this verdict, such as differs.")
@json_option
def ledger(verdict: str | None, as_json: bool) -> None:
    """Show every claim of the papers, what was measured, the verdict and its reason.

    It looks at committed records only. What needs the paper's GPU names the one command that would answer it.
    """

    if verdict is not None:
        check_verdict(verdict)
    everything = entries()
    shown = [one for one in everything if verdict in (None, one.finding.verdict)]
    if as_json:
        return print_json([one.model_dump(mode="json") for one in shown])
    measured_again, scores = scores_measured(everything)
    print(f"Of the papers' {scores} scores, {measured_again} were measured again with their models and data.")
    for one in shown:
        claim, found = one.claim, one.finding
        print(f"{claim.id}: {claim.text} ({claim.paper}, {claim.place}): {claim.printed}")
        measured = f"{found.measured}; " if found.measured else ""
        print(f"  {found.verdict}: {measured}{found.reason}")
        if found.verdict == NEEDS:
            print(f"  {found.command}")
    told = ", ".join(f"{count} {name}" for name, count in Counter(one.finding.verdict for one in shown).most_common())
    print(f"{len(shown)} claims: {told or 'none'}")
