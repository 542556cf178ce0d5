"""`emoser corpus`: list, describe, check and fetch corpora."""

import sys
from collections import Counter
from dataclasses import asdict
from typing import Any

import click

from emoser_lib.cli.options import FiniteRange, json_option, own_folder, own_folder_options, print_json
from emoser_lib.corpora import SOURCES, check, data_home, describe, fetch, load_corpus
from emoser_lib.corpora.survey import counts_in_words

SHOWN = 20
"""Findings of a kind that the terminal names, our choice; the others are counted."""


@click.group()
def corpus() -> None:
    """List, describe, check and fetch corpora."""


@corpus.command("list")
@json_option
def corpus_list(as_json: bool) -> None:
    """List the corpora and whether their data are here."""

    rows = [
        {
            "name": name,
            "about": source.about,
            "licence": source.licence,
            "here": source.folder is None or (data_home() / source.folder).is_dir(),
        }
        for name, source in SOURCES.items()
    ]
    if as_json:
        return print_json({"data": str(data_home()), "corpora": rows})
    for row in rows:
        print(f"{row['name']:<12} {'here   ' if row['here'] else 'missing'} {row['about']} ({row['licence']})")


@corpus.command("describe")
@click.argument("name")
@own_folder_options
@json_option
def corpus_describe(name: str, as_json: bool, **own: Any) -> None:
    """Count clips, labels, videos, speakers and hours by split."""

    description = describe(load_corpus(name, **own_folder(**own)))
    if as_json:
        return print_json(description)
    for split, counts in description.splits.items():
        labels = ", ".join(f"{x} {n}" for x, n in counts.labels.items()) or "no labels shown"
        known = {"videos": counts.videos, "speakers": counts.speakers, "hours": counts.hours}
        more = ", ".join(f"{n:g} {what}" for what, n in known.items() if n is not None)
        print(f"{split}: {counts.clips} clips ({labels}){'; ' + more if more else ''}")
    for reason, n in description.left_out.items():
        print(f"left out: {n} clips {reason}")
    for what, named in (("columns", description.columns), ("labels", description.renamed)):
        if named:
            print(f"{what}: {', '.join(f'{name}={other}' for name, other in named.items())}")
    if description.unused_columns:
        print(f"nothing is read from: {', '.join(description.unused_columns)}")


@corpus.command("check")
@click.argument("name")
@own_folder_options
@click.option("--longest", type=FiniteRange(min=0.03), default=30.0, show_default=True, help="Seconds.")
@json_option
def corpus_check(name: str, longest: float, as_json: bool, **own: Any) -> int:
    """Name every clip with something wrong; exit code 1 if any has a fault that needs repair.

    Duplicates and labels outside the six are named too, but may be as they should.
    """

    loaded = load_corpus(name, **own_folder(**own))
    findings = check(loaded, longest_seconds=longest)
    if as_json:
        listed = [asdict(finding) | {"fault": finding.kind.is_fault} for finding in findings]
        print_json({"name": loaded.name, "clips": len(loaded), "findings": listed})
    else:
        counted, said = Counter(finding.kind for finding in findings), Counter[str]()
        for finding in findings:
            said[finding.kind] += 1
            if said[finding.kind] <= SHOWN:
                print(f"{finding.kind}: {finding.clip or loaded.name}: {finding.message}")
            elif said[finding.kind] == counted[finding.kind]:
                print(f"{finding.kind}: and {counted[finding.kind] - SHOWN} more (--json names all)")
        clips = "1 clip" if len(loaded) == 1 else f"{len(loaded)} clips"
        print(f"{loaded.name}: {clips}; {counts_in_words(counted) or 'nothing found'}", file=sys.stderr)
    return 1 if any(finding.kind.is_fault for finding in findings) else 0


@corpus.command("fetch")
@click.argument("name")
@json_option
def corpus_fetch(name: str, as_json: bool) -> None:
    """Download a corpus's public tables and say how to get the rest."""

    fetched = fetch(name)
    if as_json:
        return print_json(fetched)
    for file in fetched.files:
        print(f"{file.status}: {file.path}")
    if fetched.files:
        print(f"Licence: {fetched.licence}")
    print(fetched.instructions)
