"""The benchmark measures equal trainings only, judges its targets by what was measured, and the page shows that."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import contenders
from benchmarks.phases import EPOCH, LONG, OPTIONS, SIXTEEN, Phase, Step, phases
from benchmarks.report import result
from benchmarks.run import check_losses, fingerprint, measure, workers
from benchmarks.workload import LENGTHS, Workload, prepare
from emoser_lib.errors import DataError

CLIP = contenders.Clip("q", "a", [1, 2, 3], [4])


def work() -> Workload:
    clips = [replace(CLIP, ids=[1, 2] + [3] * (1 + n % 7)) for n in range(64)]
    long = [replace(CLIP, ids=[1] * 10 * (1 + n // 4)) for n in range(12)]
    return Workload("org/m", "a note", "0" * 64, Path("m"), Path("a"), "demo", [1, 2], clips, long, [[4]])


def measured(seconds: dict[str, float]) -> dict[str, Any]:
    """What `measure` returns for each phase, where each step of a contender takes so long."""
    phase_results = {}
    for phase in phases(work(), quick=True):
        steps = {}
        for name in phase.contenders:
            cost = seconds.get(name, 4.0)
            looks: dict[str, dict[str, float]] = {"count": {"gflop": 10 * cost}, "memory": {"peak_mb": 100 * cost}}
            steps[name] = [
                {"look": s.look, "note": s.note, "seconds": cost, "loss": 1.5, "rss_mb": 900.0, **looks.get(s.look, {})}
                for s in phase.steps
            ]
        about = {name: {"versions": {"torch": "2"}, "threads": 2} for name in phase.contenders}
        phase_results[phase.name] = {
            "batch_size": phase.batch_size,
            "tokens": [[len(clip.ids) for clip in step.clips] for step in phase.steps],
            "gflops": [20.0] * len(phase.steps),
            "about": about,
            "steps": steps,
        }
    return phase_results


SCORED = {"batch_size": 16, "clips": 64, "seconds": {"label scoring": [1.0, 1.0], "generate, 2 tokens": [9.0, 7.0]}}


@pytest.fixture(scope="module")
def final() -> dict[str, Any]:
    return result(work(), measured({"ours": 1.0, "trl": 6.0}), SCORED)


def test_every_contender_takes_the_same_steps_over_one_epoch() -> None:
    by_name = {phase.name: phase for phase in phases(work(), quick=False)}
    epoch = by_name[EPOCH]
    timed = [clip for step in epoch.steps if step.look == "step" for clip in step.clips]
    assert timed == work().clips, "each transcription once"
    assert {step.look for step in epoch.steps[:2]} == {"count", "memory"}, "what slows a step down is not timed"
    assert by_name[SIXTEEN].batch_size == 16 and len(by_name[LONG].steps) == 1 + 3 * len(LENGTHS)
    assert set(epoch.contenders) | set(by_name[OPTIONS].contenders) == set(contenders.CONTENDERS)
    for phase in by_name.values():
        repeats = [step for step in phase.steps if step.look == "step"]
        assert phase.name == LONG or len(repeats) >= 5, phase.name


def test_a_target_is_met_only_where_the_number_says_so(final: dict[str, Any]) -> None:
    met = {(target["target"], target["against"]): target["met"] for target in final["targets"]}
    assert met["times faster, batch 4", "TRL SFTTrainer"]
    assert not met["times faster, batch 16", "TRL SFTTrainer"], "6 is below 7"
    assert not met["times faster, batch 4", "ms-swift"], "4 is below 5"
    assert met["share of their memory, batch 4", "ms-swift"]
    assert not met["share of the matrix-multiply rate, batch 4", ""], "10 GFLOP in 1 s of 20 GFLOP/s are a half"
    assert met["label scoring, times faster", "generate, 2 tokens"]


def test_different_losses_end_the_measurement() -> None:
    phase = Phase("p", ("ours", "trl"), [Step([CLIP], "step")])
    check_losses(phase, 0, {"ours": 1.0, "trl": 1.00009})
    for loss in (1.0002, float("nan")):
        with pytest.raises(DataError, match="phase p, step 1: the loss of TRL SFTTrainer is"):
            check_losses(phase, 0, {"ours": 1.0, "trl": loss})


def test_the_page_shows_the_result(built: Callable[..., str], final: dict[str, Any]) -> None:
    page = built("benchmark", "benchmark", "m.json", final)
    assert (
        "the slowest, TRL SFTTrainer, 6.0 times as long as ours, 6.0 times the FLOPs and 6.0 times the memory" in page
    )
    assert "Even the fastest of the others takes 4.0 times as long with a batch of 1, and 4.0 times as long" in page
    assert "Writing an answer takes 8.0 times (generate, 2 tokens) as long as scoring all labels" in page
    assert "TRL SFTTrainer completion-only loss" in page, "what was run, folded"
    assert "Nothing has been measured" not in page


def test_the_page_without_a_result_says_so(built: Callable[..., str]) -> None:
    assert "Nothing has been measured yet." in built("benchmark", "benchmark", "m.json", None)


@pytest.mark.slow
def test_two_contenders_train_alike_in_processes_of_their_own(tmp_path: Path) -> None:
    """Those of the project's own environment, on a tiny random model: equal losses, fewer FLOPs, less memory."""
    tiny = prepare(tmp_path, quick=True)
    batch = tiny.clips[:4]
    steps = [Step(batch, "count"), Step(batch, "memory"), Step(tiny.clips[4:8], "step")]
    with workers(tmp_path / "log.txt") as started:
        found = measure(Phase("p", ("ours", "transformers"), steps), tiny, tmp_path, started)["steps"]
    ours, theirs = found["ours"], found["transformers"]
    assert [s["loss"] for s in ours] == pytest.approx([s["loss"] for s in theirs], abs=1e-4)
    assert ours[0]["loss"] != ours[1]["loss"], "the same batch twice: the adapter has learnt"
    assert 0 < ours[0]["gflop"] < 0.5 * theirs[0]["gflop"]
    assert 0 < ours[1]["peak_mb"] < 0.6 * theirs[1]["peak_mb"]


@pytest.mark.parametrize(
    ("where", "added", "again"),
    [
        ("emoser_lib/systems/qwen_audio/frames.py", "x = 1\n", True),
        ("emoser_lib/systems/reading/lora.py", "x = 1\n", True),
        ("emoser_lib/systems/hearing/assembly.py", "x = 1\n", True),
        ("benchmarks/hearing.py", "x = 1\n", True),
        ("benchmarks/constraints.txt", "x==1\n", True),
        ("constraints.txt", "x==1\n", True),
        ("emoser_lib/systems/reading/lora.py", "# a comment\n", False),
        ("benchmarks/report.py", "x = 1\n", False),
        ("emoser_lib/reporting/book/pages.py", "x = 1\n", False),
    ],
)
def test_what_decides_what_is_measured_is_measured_again(
    where: str, added: str, again: bool, root: Path, tmp_path: Path
) -> None:
    only_code = shutil.ignore_patterns("demo_*", "__pycache__")
    for folder in ("emoser_lib", "benchmarks"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=only_code)
    shutil.copy(root / "constraints.txt", tmp_path)
    before = fingerprint(root=tmp_path)
    with (tmp_path / where).open("a") as file:
        file.write(added)
    assert (fingerprint(root=tmp_path) != before) == again
    assert fingerprint("another scale", root=tmp_path) != fingerprint(root=tmp_path)
