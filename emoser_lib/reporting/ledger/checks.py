"""What the ledger works out itself: from the recorded tables of the challenge, declarations and printed numbers."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from emoser_lib.corpora import LABELS
from emoser_lib.environment import shipped_files
from emoser_lib.experiments import paper_interval
from emoser_lib.experiments.judging.simulations import can_have
from emoser_lib.experiments.planning.dry_run import RunNeeds, dry_run
from emoser_lib.experiments.runs.profiles import PlannedRun, plan
from emoser_lib.experiments.runs.records import Record
from emoser_lib.experiments.training.folds import N_FOLDS
from emoser_lib.reporting.ledger.claims import (
    IMPRECISE,
    UNKNOWN,
    Check,
    Claim,
    ClaimFinding,
    Verdict,
    at,
    compared,
    the_record,
)
from emoser_lib.reporting.ledger.claims import claims as all_claims
from emoser_lib.reporting.ledger.rules import (
    Estimate,
    Judged,
    difference_of,
    estimate_of,
    judged_order,
    mean_of,
    row_of,
)
from emoser_lib.reporting.seeds import f1_by_label, of_other_seeds, rarest_label, without
from emoser_lib.reporting.tables import paper_intervals
from emoser_lib.systems.checkpoints.catalogue import CHECKPOINTS
from emoser_lib.systems.declared import Training
from emoser_lib.systems.prompts.text import PROMPTS
from emoser_lib.systems.prompts.words import ADJECTIVES
from emoser_lib.systems.qwen_audio.layout import ConfigurationV1, shapes
from emoser_lib.systems.qwen_audio.tokens import special_tokens

CORPUS = "01-corpus-small-emospeech"
"""The record of the challenge's own tables."""

TEXT, LORA = "03-classical-small-text", "05-gemma-lora-small-test"
"""Records of a linear classifier of words, and of a small Gemma with LoRA, at one seed of several, on the challenge's
test."""

VOICES = "08-whisper-gemma-small-normalised"
"""The record that asks a classifier about the mean frames."""

HEARS = "08-whisper-gemma-small-speaker"
"""The record of a language model that hears new voices as they are."""

AUDIT_RECORD = "12-audit-small-emospeech"

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
    """Check that no clip, of training or test, has the label surprise."""
    found = {*at(the_record(CORPUS, records), "splits.train.labels"), *at(the_record(TEXT, records), "per_label")}
    return _of_corpus("surprise" not in found, "No clip of either split has it.", "no clip")


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
    [found] = plan(shipped_files() / "notebooks" / f"{notebook}.ipynb", "paper", run)
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
    small, large = planned("08-whisper-gemma", "table-2"), planned("07-qwen-audio-lora", "grid")
    share = small.systems[0].parameters / large.read
    reason = f"{COUNTED} Less than half is what it says."
    return _found("reproduced", share < 0.5, reason, f"{share:.0%}", small.notebook)


def fits_the_gpu(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Compare what the paper's own runs need with this project's code with the paper's GPU."""
    assert claim.value is not None
    runs = [("05-gemma-lora", "best"), ("07-qwen-audio-lora", "official"), ("08-whisper-gemma", "table-2")]
    most = max(planned(*run).memory for run in runs) / 1e9
    reason = (
        "Counted, not run: what the trainings of the three systems need at most as the paper describes them, with this "
        "project's code. The released code, which trains the encoder too, needs more (thau-batch-limit)."
    )
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
    reason = f"The formula of an accuracy gives all {len(table)} printed intervals."
    return _found("reproduced", away < 5e-4, reason, f"at most {away:.4f} away", "02-scoring")


def printed_coverage(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Look up how often the printed intervals hold the true score, in the simulation of a recorded audit."""
    level = claims["thau-confidence"].value
    assert level is not None
    record = the_record(AUDIT_RECORD, records)
    rows = [
        row
        for row in at(record, "coverage")
        if can_have(row["macro-F1"], len(LABELS), 0 if row["system"].startswith("never") else None)
    ]
    ways = dict.fromkeys(row["system"] for row in rows)
    by_way = {way: [row["formula"] for row in rows if row["system"] == way] for way in ways}
    told = "; ".join(f"{way}: {min(held):.0%} to {max(held):.0%}" for way, held in by_way.items())
    near = all(abs(one - level / 100) < 0.02 for held in by_way.values() for one in held)
    reason = (
        "Macro-F1 is no accuracy: on made-up systems of the printed scores the formula's interval holds the true one "
        "less or more often than it promises."
    )
    found = _found("consistent", near, reason, told, record.notebook)
    return found.model_copy(update={"profile": record.profile, "record": record.name})


TOO_NARROW = "The printed ± are too narrow (thau-coverage)."


def _printed(name: str, claims: Claims) -> Estimate:
    """A printed score with its printed half-width; where none is printed, that of the paper's formula."""
    claim, n = claims[name], claims["thau-clips-test"].value
    assert claim.value is not None and n is not None
    half = paper_interval(claim.value, int(n))[1] - claim.value if claim.interval is None else claim.interval
    return Estimate(claim.value, claim.value - half, claim.value + half)


def _apart(first: str, second: str) -> Check:
    """Make a check whether the first of two printed test scores is better, by the interval of their difference."""

    def check(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
        judged = judged_order([difference_of(_printed(first, claims), _printed(second, claims))], ["difference"])
        reason = (
            f"By the paper's own numbers; where no ± is printed, by its formula. {judged.reason} It takes clips of one "
            f"video for independent. {TOO_NARROW}"
        )
        return ClaimFinding(verdict=judged.verdict, reason=reason, measured=judged.measured, notebook="02-scoring")

    return check


def sound_helps(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Compare the printed scores of the systems that hear with those of the best that reads only."""
    reads = _printed("thau-table3-gemma-r128", claims)
    names = {"Qwen-Audio": "thau-table3-qwen-r256", "emotion2vec-Gemma": "thau-table3-emo2vec-gemma"}
    gaps = [f"{name} {difference_of(_printed(of, claims), reads)}" for name, of in names.items()]
    reason = (
        "Qwen-Audio hears and is another model, more than three times as large as Gemma: which of the two helps, the "
        "printed scores do not tell. emotion2vec-Gemma hears too, and its score is below that of Gemma that reads; "
        f"with intervals as wide as chapter 12's simulation finds them, the difference holds zero. {TOO_NARROW}"
    )
    measured = f"less Gemma that reads: {', '.join(gaps)}"
    return ClaimFinding(verdict=UNKNOWN, reason=reason, measured=measured, notebook="02-scoring")


def smaller_is_effective(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Compare Whisper-Gemma's printed score with a linear classifier of words, recorded on the same clips.

    That is hearing beside reading, so it tells nothing of size, however far apart they are.
    """
    record = the_record(TEXT, records)
    floor = estimate_of(row_of(record, "text-svm"))
    judged = judged_order([difference_of(_printed("thau-table3-whisper-gemma", claims), floor)], ["difference"])
    heard = estimate_of(row_of(the_record(HEARS, records), "whisper-gemma"), "uar")
    reason = (
        f"The printed score, beside our text-svm on the same clips ({floor}), which does not hear: what is above it "
        "need not be the model's size. The fair control, a classifier on the same encoder's frames, was not run on "
        "these clips. On elicited speech, with smaller models, the language model's UAR less that classifier's is "
        f"{difference_of(heard, _of_mean_frames(records))}."
    )
    return _beside(record, judged._replace(verdict=UNKNOWN), reason)


def _of_mean_frames(records: Records) -> Estimate:
    """UAR of a classifier on the mean of Whisper's frames, for new voices."""
    asked = at(the_record(VOICES, records), "voices")
    return estimate_of(
        next(of for of in asked if (of["heard as"], of["voices"]) == ("mean frame", "new voices")), "uar"
    )


def _beside(record: Record, judged: Judged, reason: str) -> ClaimFinding:
    """A finding that a record has a part in."""
    return ClaimFinding(
        verdict=judged.verdict,
        reason=reason,
        measured=judged.measured,
        notebook=record.notebook,
        profile=record.profile,
        record=record.name,
    )


def text_hypothesis(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Compare a small Gemma with LoRA, at all its seeds, with a linear classifier of the same words.

    With the rarest label and without: both means over the seeds have to say it, and each seed.
    """
    record, plain = the_record(LORA, records), the_record(TEXT, records)
    seeds = of_other_seeds(record, list(records.values()))
    rarest = rarest_label(record)
    counts = {label: of["n"] for label, of in at(record, "per_label").items()}
    n = sum(counts.values())
    theirs = without(f1_by_label(plain, "text-svm"), rarest)
    whole, rest = [], []
    for seed in seeds:
        whole.append(difference_of(*(estimate_of(row_of(seed, name)) for name in ("gemma-lora", "text-svm"))))
        pair = without(f1_by_label(seed), rarest), theirs
        rest.append(difference_of(*(Estimate(f1, *paper_interval(f1, n)) for f1 in pair)))
    names = [
        f"gemma-lora, mean of {len(seeds)} seeds, less text-svm",
        f"the mean F1 of the labels but {rarest}, all clips",
    ]
    judged = judged_order([mean_of(whole), mean_of(rest)], names)
    if any(len({one.value > 0 for one in of}) > 1 for of in (whole, rest)):
        judged = judged._replace(verdict=IMPRECISE, reason=f"{judged.reason} The seeds do not all say the same.")
    fear = [f1_by_label(seed)[rarest] for seed in seeds]
    reason = (
        f"Its direction only, with a smaller Gemma, beside a linear classifier of the same words. {judged.reason} F1 "
        f"of the {counts[rarest]} clips of {rarest} is {min(fear):.2f} to {max(fear):.2f} by the seed; that alone "
        f"moves the score by {(max(fear) - min(fear)) / len(counts):.3f}. The interval of the seeds' mean is the mean "
        "of theirs and leaves out how far they lie apart; that of the labels but the rarest is by the formula of an "
        "accuracy, as no draws of it are kept."
    )
    return _beside(record, judged, reason)


def _than_mean_frames(notebook: str, row: str, reader: str) -> Check:
    """Make a check whether a language model hears, and more than a classifier on the mean of the same frames does.

    That it hears less than the classifier does not refute that it hears: then it is open what it is good for.
    """

    def check(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
        record, classifier = the_record(notebook, records), _of_mean_frames(records)
        hears = estimate_of(row_of(record, row), "uar")
        gains = [difference_of(hears, estimate_of(row_of(record, reader), "uar")), difference_of(hears, classifier)]
        judged = judged_order(gains, [f"UAR of {row} less {reader}'s", "less the classifier's"])
        if judged.verdict != "consistent" and gains[0].low > 0:
            # Below the classifier beyond its interval: what is lacking is training, and no precision.
            less = gains[1].high < 0
            verdict: Verdict = UNKNOWN if less else IMPRECISE
            than = (
                "It hears, and less than the classifier."
                if less
                else "It hears; whether less than the classifier, the interval does not tell."
            )
            open_ = (
                f"{than} That the language model is good for it is not shown, nor refuted by so little training "
                f"(one seed, {record.parameters['epochs']} epochs)."
            )
            judged = judged._replace(verdict=verdict, reason=open_)
        reason = (
            "Its direction only, with smaller models on another corpus, whose words tell nothing. The fair control is "
            f"a classifier on the mean of the same frames, of new voices too ({classifier}). {judged.reason}"
        )
        return _beside(record, judged, reason)

    return check


def batch_limit(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Count what larger batches of Whisper-Gemma need, with the encoder frozen and as the released code has it."""
    limit = claims["thau-gpu"].value
    assert limit is not None
    needed = {
        f"{arm}, batch {size}": _memory(run, size)
        for run, arm, size in (("first", "published", 8), ("released", "released", 4), ("released", "released", 6))
    }
    fits = [memory <= limit for memory in needed.values()]
    reason = (
        f"{COUNTED} With this project's code and the encoder frozen, as the paper says, 8 clips fit into the paper's "
        "GPU. As the released code has it, which trains the encoder, 4 fit and 6 do not, in float32. Theirs runs in "
        "half precision on two GPUs (train.py): what it could hold is not counted."
    )
    measured = ", ".join(f"{name}: {memory:.0f} GB" for name, memory in needed.items())
    assert fits == [True, True, False], measured
    return ClaimFinding(verdict=UNKNOWN, reason=reason, measured=measured, notebook="08-whisper-gemma")


@cache
def _memory(run: str, batch_size: int) -> float:
    found = planned_run("08-whisper-gemma", run)
    one = {"batch_sizes": [batch_size], "learning_rates": found.parameters["learning_rates"][:1], "folds": []}
    [needs] = dry_run([replace(found, parameters={**found.parameters, **one, "refit": True})], "paper").runs
    return needs.memory / 1e9


def gemma_languages(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Look up which languages Gemma's model card names."""
    named = CHECKPOINTS["google/gemma-1.1-2b-it"].languages
    reason = "Its model card says in which language it is available; the shared task's clips are Spanish."
    return _found("consistent", "," in named, reason, named, "05-gemma-lora")


def qwen_bias(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Look for a bias among the tensors of a layer of Qwen."""
    names = shapes(ConfigurationV1.model_validate(CHECKPOINTS["Qwen/Qwen-Audio-Chat"].architecture))
    found = [name for name in names if name.startswith("transformer.h.0.") and name.endswith(".bias")]
    told = ", ".join(name.removeprefix("transformer.h.0.") for name in found) or "none"
    reason = "By the tensors of Qwen-Audio's checkpoint: queries, keys and values of each layer have a bias."
    return _found("consistent", not found, reason, told, "06-qwen-audio-zero-shot")


def qwen_tasks(claim: Claim, claims: Claims, records: Records) -> ClaimFinding:
    """Look for a control token of emotion recognition in Qwen-Audio's vocabulary."""
    token = "<|emotion_recognition|>"
    reason = "Its vocabulary has a control token for that task. On which data it was trained, it does not tell."
    return _found("consistent", token in special_tokens(), reason, token, "06-qwen-audio-zero-shot")


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

OF_THE_PAPER = (
    *(halved, fits_the_gpu, prompt_labels, fold_count, final_rate, intervals, printed_coverage, second_best),
    *(sound_helps, smaller_is_effective, text_hypothesis, batch_limit, gemma_languages, qwen_bias, qwen_tasks),
)

GEMMA, QWEN, WHISPER = ("05-gemma-lora", "grid"), ("07-qwen-audio-lora", "grid"), ("08-whisper-gemma", "table-2")

CHECKS: Mapping[str, Check] = {
    **{check.__name__: check for check in (*OF_THE_CORPUS, *OF_THE_PAPER)},
    "gemma_billions": _billions(*GEMMA, lambda of: of.parameters, " The name leaves its large vocabulary out."),
    "qwen7b_billions": _billions(*QWEN, lambda of: of.parameters - of.encoders[0].parameters, " As Qwen-Audio has it."),
    "qwen_audio_billions": _billions(*QWEN, lambda of: of.read),
    "whisper_gemma_billions": _billions(*WHISPER, lambda of: of.systems[0].parameters),
    "llama_billions": _billions("10-emosllm", "iemocap", lambda of: of.parameters),
    "whisper_apart": _apart("thau-whisper-gemma-first-test", "thau-table3-emo2vec-gemma"),
    "hears_more_than_frames": _than_mean_frames(HEARS, "whisper-gemma", "text-svm"),
    "emosllm_more_than_frames": _than_mean_frames("10-emosllm-small-speaker", "emosllm, no transcription", "text only"),
    "mel_bands_v3": _bands("openai/whisper-large-v3", "08-whisper-gemma", "num_mel_bins"),
    "mel_bands_qwen": _bands("Qwen/Qwen-Audio-Chat", "06-qwen-audio-zero-shot", "audio", "n_mels"),
}
"""By the name that claims.yaml gives."""
