"""From measured steps to what the page shows: medians, ratios, and whether the targets are met."""

from statistics import median
from typing import Any

from benchmarks.contenders import CONTENDERS, MAIN, OURS
from benchmarks.phases import EPOCH, LONG, OPTIONS, SIXTEEN
from benchmarks.workload import LORA, Workload
from emoser_lib.environment import commit, hardware, now

Phase = dict[str, Any]


def timed(phase: Phase, name: str, note: str = "") -> list[float]:
    return [step["seconds"] for step in phase["steps"][name] if step["look"] == "step" and step["note"] == note]


def looked(phase: Phase, name: str, what: str) -> float:
    return next(step[what] for step in phase["steps"][name] if what in step)


def faster(phase: Phase, name: str, note: str = "") -> float:
    """How many times longer a contender takes than ours, the median over the steps with the same clips."""
    pairs = zip(timed(phase, name, note), timed(phase, OURS, note), strict=True)
    return median(theirs / ours for theirs, ours in pairs)


def loss_difference(phase: Phase, name: str) -> float:
    pairs = zip(phase["steps"][name], phase["steps"][OURS], strict=True)
    return max(abs(theirs["loss"] - ours["loss"]) for theirs, ours in pairs)


def row(phase: Phase, name: str) -> dict[str, Any]:
    """One line of the table: what a step of this contender costs, and beside ours."""
    size, gflop, peak = phase["batch_size"], looked(phase, name, "gflop"), looked(phase, name, "peak_mb")
    seconds = median(timed(phase, name))
    return {
        "contender": name,
        "seconds_a_sample": seconds / size,
        "slowest_step": max(timed(phase, name)),
        "fastest_step": min(timed(phase, name)),
        "gflop": gflop,
        "peak_mb": peak,
        "rss_mb": phase["steps"][name][-1]["rss_mb"],
        "times_faster": faster(phase, name),
        "times_fewer_flops": gflop / looked(phase, OURS, "gflop"),
        "our_memory_share": looked(phase, OURS, "peak_mb") / peak,
        "largest_loss_difference": loss_difference(phase, name),
    }


def rate_share(phase: Phase) -> float:
    """Ours: FLOPs of the batch of median length in the median time, by the rate measured between the steps."""
    return looked(phase, OURS, "gflop") / median(timed(phase, OURS)) / median(phase["gflops"])


def targets(rows: dict[str, list[dict[str, Any]]], rate: float, scoring: dict[str, Any]) -> list[dict[str, Any]]:
    """Each target of the project with what was measured."""
    judged = []

    def judge(what: str, value: float, bound: float, against: str = "", at_most: bool = False) -> None:
        met = value <= bound if at_most else value >= bound
        judged.append(
            {"target": what, "against": against, "value": value, "bound": bound, "at_most": at_most, "met": met}
        )

    for name in (name for name in MAIN if name != OURS):
        title = CONTENDERS[name].title
        four, sixteen = (next(r for r in rows[of] if r["contender"] == name) for of in (EPOCH, SIXTEEN))
        judge("times fewer FLOPs, batch 4", four["times_fewer_flops"], 4.5, title)
        judge("times faster, batch 4", four["times_faster"], 5, title)
        judge("times faster, batch 16", sixteen["times_faster"], 7, title)
        judge("share of their memory, batch 4", four["our_memory_share"], 0.6, title, at_most=True)
        judge("largest difference of the loss", four["largest_loss_difference"], 1e-4, title, at_most=True)
    judge("share of the matrix-multiply rate, batch 4", rate, 0.6)
    for way, ratio in scoring["times_faster"].items():
        judge("label scoring, times faster", ratio, 8, way)
    return judged


def scored(given: dict[str, Any]) -> dict[str, Any]:
    first, *others = given["seconds"]
    ratio = {
        name: median(
            theirs / ours for theirs, ours in zip(given["seconds"][name], given["seconds"][first], strict=True)
        )
        for name in others
    }
    each = {name: median(seconds) / given["clips"] for name, seconds in given["seconds"].items()}
    return {"batch_size": given["batch_size"], "seconds_a_clip": each, "times_faster": ratio}


def result(work: Workload, measured: dict[str, Phase], scoring: dict[str, Any]) -> dict[str, Any]:
    """The whole result, as it is committed."""
    table = {name: [row(phase, of) for of in phase["steps"]] for name, phase in measured.items() if name != LONG}
    epoch, rates = measured[EPOCH], [rate for phase in measured.values() for rate in phase["gflops"]]
    about = {name: about for phase in measured.values() for name, about in phase["about"].items()}
    score = scored(scoring)
    share = rate_share(epoch)
    return {
        "model": {"name": work.name, "note": work.note, "sha256": work.sha256},
        "corpus": {"name": work.corpus, "clips": len(work.clips)},
        "prefix_tokens": len(work.prefix),
        "median_tokens": median(len(clip.ids) for clip in work.clips),
        "rank": LORA.rank,
        "contenders": {
            name: {"title": of.title, "settings": of.settings, "versions": about[name]["versions"]}
            for name, of in CONTENDERS.items()
        },
        "threads": about[OURS]["threads"],
        "hardware": hardware(),
        "date": now(),
        "commit": commit(),
        "matmul_gflops": {"median": median(rates), "least": min(rates), "most": max(rates)},
        "rate_share": share,
        "steps": table,
        "epoch_seconds": {name: sum(timed(epoch, name)) for name in epoch["steps"]},
        "losses": {name: [step["loss"] for step in steps] for name, steps in epoch["steps"].items()},
        "growth": {
            "batch": {
                name: {str(phase["batch_size"]): median(timed(phase, name)) for key, phase in by_size(measured)}
                for name in MAIN
            },
            "length": {
                name: {
                    str(tokens): median(timed(measured[LONG], name, note)) for note, tokens in lengths(measured[LONG])
                }
                for name in MAIN
            },
        },
        "scoring": score,
        "targets": targets(table, share, score),
    }


def lengths(phase: Phase) -> list[tuple[str, int]]:
    """The note of each kind of step and how many tokens its clips have, prompt included (median)."""
    notes = [step["note"] for step in phase["steps"][OURS]]
    tokens = {note: round(median(of)) for note, of in zip(notes, phase["tokens"], strict=True) if note}
    return sorted(tokens.items(), key=lambda item: item[1])


def by_size(measured: dict[str, Phase]) -> list[tuple[str, Phase]]:
    of_size = [(name, phase) for name, phase in measured.items() if name not in (LONG, OPTIONS)]
    return sorted(of_size, key=lambda item: item[1]["batch_size"])


def summary(final: dict[str, Any]) -> str:
    """The targets, for the terminal."""
    return "\n".join(
        f"{'met   ' if target['met'] else 'MISSED'} {target['target']} {target['against']}: {target['value']:.3g} "
        f"(target {target['bound']:g})"
        for target in final["targets"]
    )
