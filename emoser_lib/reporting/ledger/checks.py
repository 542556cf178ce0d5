"""What the ledger works out itself: from the recorded tables of the challenge, declarations and printed numbers."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from emoser_lib.corpora import LABELS
from emoser_lib.environment import ROOT
from emoser_lib.experiments import paper_interval
from emoser_lib.experiments.planning.dry_run import RunNeeds, dry_run
from emoser_lib.experiments.runs.profiles import PlannedRun, plan
from emoser_lib.experiments.runs.records import Record
from emoser_lib.experiments.training.folds import N_FOLDS
from emoser_lib.reporting.ledger.claims import UNKNOWN, Check, Claim, ClaimFinding, Verdict, at, compared, the_record
from emoser_lib.reporting.ledger.claims import claims as all_claims
from emoser_lib.reporting.tables import paper_intervals
from emoser_lib.systems.checkpoints.catalogue import CHECKPOINTS
from emoser_lib.systems.declared import Training
from emoser_lib.systems.prompts.text import PROMPTS
from emoser_lib.systems.prompts.words import ADJECTIVES

CORPUS = "01-corpus-small-emospeech"
"""The record of the challenge's own tables."""

COUNTED = "Counted on the configuration that the checkpoint has."

Claims = Mapping[str, Claim]

Records = Mapping[str, Record]


def _of_corpus(verdict: bool, reason: str, measured: str) -> ClaimFinding:
    return ClaimFinding(
        verdict="reproduced" if verdict else "differs",
        reason=reason,
        measured=measured,
        notebook="01-corpus",
        profile="small",
        record=CORPUS,
    )


def clips(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Count the clips of both splits."""
    splits = at(the_record(CORPUS, records), "splits")
    total = sum(of["clips"] for of in splits.values())
    return _of_corpus(total == claim.value, "Counted in the challenge's own tables.", f"{total:,}")


def mean_clip_seconds(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Compute a clip's mean length from the start and end times of the public table."""
    splits = at(the_record(CORPUS, records), "splits").values()
    mean = 3600 * sum(of["hours"] for of in splits) / sum(of["clips"] for of in splits)
    return _of_corpus(
        round(mean) == claim.value, "From the times in the public table; the paper says approximately.", f"{mean:.1f}"
    )


def labels(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Count the labels that have clips."""
    found = at(the_record(CORPUS, records), "splits.train.labels")
    return _of_corpus(len(found) == claim.value, f"They are {', '.join(sorted(found))}.", str(len(found)))


def no_surprise(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Check that no training clip has the label surprise."""
    found = at(the_record(CORPUS, records), "splits.train.labels")
    return _of_corpus("surprise" not in found, "No training clip of the challenge has it.", "no clip")


def fear_is_rarest(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Check that no other label has fewer than ten times as many clips as fear."""
    found = at(the_record(CORPUS, records), "splits.train.labels")
    fear, next_one = sorted(found.values())[:2]
    rarest = min(found, key=found.__getitem__)
    return _of_corpus(
        rarest == "fear" and next_one > 10 * fear,
        f"Of {sum(found.values()):,} training clips; the next rarest label has {next_one}.",
        f"{rarest}: {fear}",
    )


@cache
def planned(notebook: str, run: str) -> RunNeeds:
    """Work out what a run of the profile paper needs."""
    [needs] = dry_run([planned_run(notebook, run)], "paper").runs
    return needs


def planned_run(notebook: str, run: str) -> PlannedRun:
    """Find a run of the profile paper. Raises UsageError where there is none."""
    [found] = plan(ROOT / "notebooks" / f"{notebook}.ipynb", "paper", run)
    return found


def _billions(notebook: str, run: str, count: Callable[[RunNeeds], int], reason: str = "") -> Check:
    """Make a check that counts parameters of a run of the profile paper."""
    return lambda claim, claims, records: compared(
        claim, count(planned(notebook, run)) / 1e9, f"{COUNTED}{reason}", notebook=notebook
    )


def _found(verdict: Verdict, holds: bool, reason: str, measured: str, notebook: str = "") -> ClaimFinding:
    verdict = verdict if holds else "differs"
    return ClaimFinding(verdict=verdict, reason=reason, measured=measured, notebook=notebook)


def halved(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Compute Whisper-Gemma's parameters as a share of Qwen-Audio's."""
    small, large = planned("08-whisper-gemma", "grid"), planned("07-qwen-audio-lora", "grid")
    share = small.systems[0].parameters / large.read
    reason = f"{COUNTED} Less than half is what it says."
    return _found("reproduced", share < 0.5, reason, f"{share:.0%}", small.notebook)


def fits_the_gpu(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Compare what the paper's own runs need with this project's code with the paper's GPU."""
    assert claim.value is not None
    runs = [("05-gemma-lora", "best"), ("07-qwen-audio-lora", "official"), ("08-whisper-gemma", "grid")]
    most = max(planned(*run).memory for run in runs) / 1e9
    reason = "Counted, not run: what the trainings of the three systems need at most, with this project's code."
    return _found("consistent", most < claim.value, reason, f"{most:.0f} GB", "08-whisper-gemma")


def prompt_labels(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """List the emotions that Table 1's prompt for Gemma offers, and those of them that no clip has."""
    offered = PROMPTS["gemma"].words
    absent = [word for word in offered if word not in ADJECTIVES.values()]
    same = (len(offered), len(absent)) == (len(LABELS) + 2, 2)
    reason = f"Table 1's prompt offers {', '.join(absent)}, which no clip has; chapter 4 has a prompt without them."
    return _found("reproduced", same, reason, f"{len(offered)} and {len(LABELS)}", "04-gemma-zero-shot")


def fold_count(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Count the folds of the scheme paper."""
    reason = "A setting and no result: the fold scheme 'paper' has as many."
    return _found(UNKNOWN, claim.value == N_FOLDS, reason, f"{N_FOLDS} folds", "01-corpus")


def final_rate(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Read the learning rate that a training ends with, see `declared.Training`."""
    rate = Training().final_rate
    reason = "A setting and no result: training here ends there too."
    return _found(UNKNOWN, rate == claim.value, reason, f"final_rate = {rate:g}", "05-gemma-lora")


def intervals(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Rebuild all six intervals of Table 3 from score and n."""
    table = paper_intervals(all_claims())
    away = float(table["difference"].abs().max())
    reason = (
        f"The formula of an accuracy gives all {len(table)} printed intervals. Macro-F1 is no accuracy: "
        "chapter 2 shows what its interval is."
    )
    return _found("reproduced", away < 5e-4, reason, f"at most {away:.4f} away", "02-scoring")


def _printed(names: Sequence[str], claims: Claims) -> list[tuple[float, float]]:
    """Score and printed half-width; where none is printed, that of the paper's formula."""
    n = claims["thau-clips-test"].value
    assert n is not None
    found = []
    for name in names:
        value = claims[name].value
        assert value is not None
        half = claims[name].interval
        found.append((value, paper_interval(value, int(n))[1] - value if half is None else half))
    return found


def _apart(*names: str, wanted: bool = True) -> Check:
    """Make a check whether the printed intervals of two test scores are apart."""

    def check(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
        (high, above), (low, below) = _printed(names, claims)
        apart = high - above > low + below
        reason = (
            "By the paper's own numbers: their intervals "
            + ("do not overlap." if apart else "overlap, so these clips do not tell the two apart.")
            + " They take clips of one video for independent."
        )
        measured = f"{high:.4f} ± {above:.4f} and {low:.4f} ± {below:.4f}"
        return _found("consistent", apart == wanted, reason, measured, "02-scoring")

    return check


def second_best(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Look up the team's place in the overview of the challenge."""
    best, mine, third = (claims[name].value for name in ("task2-best", "thau-table3-qwen-r256", "task2-third"))
    assert best is not None and mine is not None and third is not None
    measured = f"{best:.4f}, {mine:.4f}, {third:.4f}"
    return _found("consistent", best > mine > third, "By the challenge's own ranking.", measured)


def _bands(checkpoint: str, notebook: str, *where: str) -> Check:
    """Make a check that reads the mel bands of the configuration that a checkpoint is known to have."""

    def check(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
        told: Any = CHECKPOINTS[checkpoint].architecture
        for key in where:
            told = told[key]
        return compared(claim, float(told), COUNTED, notebook=notebook)

    return check


OF_THE_CORPUS = (clips, mean_clip_seconds, labels, no_surprise, fear_is_rarest)

OF_THE_PAPER = (halved, fits_the_gpu, prompt_labels, fold_count, final_rate, intervals, second_best)

GEMMA, QWEN, WHISPER = ("05-gemma-lora", "grid"), ("07-qwen-audio-lora", "grid"), ("08-whisper-gemma", "grid")

CHECKS: Mapping[str, Check] = {
    **{check.__name__: check for check in (*OF_THE_CORPUS, *OF_THE_PAPER)},
    "gemma_billions": _billions(*GEMMA, lambda of: of.parameters, " The name leaves its large vocabulary out."),
    "qwen7b_billions": _billions(*QWEN, lambda of: of.parameters - of.encoders[0].parameters, " As Qwen-Audio has it."),
    "qwen_audio_billions": _billions(*QWEN, lambda of: of.read),
    "whisper_gemma_billions": _billions(*WHISPER, lambda of: of.systems[0].parameters),
    "llama_billions": _billions("10-emosllm", "iemocap", lambda of: of.parameters),
    "whisper_apart": _apart("thau-whisper-gemma-first-test", "thau-table3-emo2vec-gemma"),
    "sound_apart": _apart("thau-table3-qwen-r256", "thau-table3-gemma-r128"),
    "comparable": _apart("thau-table3-qwen-r256", "thau-table3-whisper-gemma", wanted=False),
    "mel_bands_v3": _bands("openai/whisper-large-v3", "08-whisper-gemma", "num_mel_bins"),
    "mel_bands_qwen": _bands("Qwen/Qwen-Audio-Chat", "06-qwen-audio-zero-shot", "audio", "n_mels"),
}
"""By the name that claims.yaml gives."""
