"""What an exported folder says of its system: the model card, and the script that uses it."""

from collections.abc import Mapping
from types import MappingProxyType

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from emoser_lib.experiments.predicting.kept import KeptSystem

LICENCES: Mapping[str, str] = MappingProxyType(
    {
        "MIT": "mit",
        "Apache-2.0": "apache-2.0",
        "Gemma terms of use": "gemma",
        "Llama 3.2 Community License": "llama3.2",
        "CC BY-SA 3.0": "cc-by-sa-3.0",
        "CC BY-NC 4.0": "cc-by-nc-4.0",
        "CC0 1.0": "cc0-1.0",
    }
)
"""Our names -> the hub's identifiers; other licences are "other" there, with a name."""

CARD_SCORES = (("macro_f1", "f1", "macro-F1"), ("uar", "recall", "unweighted average recall"), ("accuracy",) * 3)
"""A score of the record, the hub's metric, and what people call it."""

INTERVALS = {"macro_f1": ("low", "high"), "uar": ("uar_low", "uar_high")}
"""A score -> its bootstrap interval."""


def model_card(kept: KeptSystem) -> str:
    """Write the card: metadata that `huggingface_hub.ModelCard` reads, and the text."""
    licence = next((used.licence for used in kept.checkpoints if used.role != "encoder"), kept.corpus_licence)
    licence = licence or "the base model's own"
    identifier = LICENCES.get(licence, "other")
    base = [used.name for used in kept.checkpoints]
    data = ModelCardData(
        license=identifier,
        license_name=None if identifier != "other" else licence.lower().replace(" ", "-").replace("'", ""),
        base_model=base[0] if len(base) == 1 else base or None,
        library_name="peft" if kept.trained and kept.kind == "text" else "emoser",
        pipeline_tag="audio-classification" if kept.hears else "text-classification",
        tags=["emoser", "speech-emotion-recognition", kept.kind],
        metrics=[hub for name, hub, _ in CARD_SCORES if kept.scores.get(name) is not None],
        model_name=f"{kept.name} ({kept.run})",
        eval_results=_results(kept),
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_text(kept)}"))


def _results(kept: KeptSystem) -> list[EvalResult]:
    task = "audio-classification" if kept.hears else "text-classification"
    return [
        EvalResult(
            task_type=task,
            dataset_type=kept.corpus.name,
            dataset_name=f"{kept.corpus.name}: {kept.judged}",
            metric_type=hub,
            metric_name=title,
            metric_value=value,
        )
        for name, hub, title in CARD_SCORES
        if (value := kept.scores.get(name)) is not None
    ]


def _text(kept: KeptSystem) -> str:
    how = {"text": "reads a transcription", "audio": "hears a clip", "classical": "is a scikit-learn classifier"}
    also = " and reads its transcription" if kept.hears and kept.reads else ""
    learnt = f"It learnt from {kept.clips} labelled clips." if kept.trained else "Nothing of it is trained."
    parts = [
        f"# {kept.name}",
        f"A system of emotion recognition that {how[kept.kind]}{also}, of the chapter {kept.chapter} of emoser "
        f"(run {kept.run}). It answers one of {len(kept.labels)} labels: {', '.join(kept.labels)}. {learnt}",
        "## Use",
        "`python use.py` says how; it needs the package `emoser`. In Python: `load_system` of "
        "`emoser_lib.experiments.predicting`."
        + (" The adapter alone: `peft.PeftModel.from_pretrained(base_model, folder)`." if _has_adapter(kept) else ""),
        "## Scores",
        f"On {kept.judged} of the corpus {kept.corpus.name}; in brackets the 95 % bootstrap interval.",
        _scores(kept),
        "## What it is made of",
        *(
            f"- {used.role}: `{used.name}`, weights of sha256 `{used.sha256}`, licence: {used.licence or 'not known'}"
            for used in kept.checkpoints
        ),
        f"- corpus: {kept.corpus.name}, {kept.corpus.clips} clips, sha256 `{kept.corpus.sha256}`, licence of the "
        f"clips: {kept.corpus_licence}",
        *([f"- label words: {', '.join(f'{a} = {b}' for a, b in kept.words.items())}"] if kept.words else []),
        *([f"- prompt:\n\n````text\n{kept.prompt}\n````"] if kept.prompt else []),
        "## Licences and limits",
        "What may be done with the system is bounded by the licences above: of what it was trained from, and of the "
        "clips. On another base model it does not load. The emotion of a voice is a judgement of listeners of one "
        "corpus: the labels are no measurement of what a person feels, and the scores hold for clips like those.",
        "No transcription, file name or speaker is in this folder."
        + (
            " The classifier's vocabulary, words and pairs of words of the transcriptions it learnt from, is in "
            "`classifier.skops`: look at it before you pass it on."
            if kept.kind == "classical" and kept.reads
            else ""
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _has_adapter(kept: KeptSystem) -> bool:
    return kept.trained and (kept.kind == "text" or bool(kept.declared.get("adaptation")))


def _scores(kept: KeptSystem) -> str:
    rows = ["| score | value |", "|---|---|"]
    for name, _, title in CARD_SCORES:
        if (value := kept.scores.get(name)) is None:
            continue
        low, high = (kept.scores.get(end) for end in INTERVALS.get(name, ("", "")))
        between = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
        rows.append(f"| {title} | {value:.3f}{between} |")
    return "\n".join(rows)


def use_script(kept: KeptSystem) -> str:
    """Write the script: ten lines that ask about one clip."""
    usage = "clip.wav" if kept.hears else '"what is said"'
    if kept.hears and kept.reads:
        usage += ' "what is said"'
    clip = "Clip(sys.argv[1], ' '.join(sys.argv[2:]))" if kept.hears else "Clip(transcription=' '.join(sys.argv[1:]))"
    return f'''"""Ask {kept.name} about a clip: python use.py {usage.replace('"', "'")}"""
import sys
from pathlib import Path

from emoser_lib.experiments.predicting import Clip, load_system

system = load_system(Path(__file__).parent)
[probabilities] = system.predict_proba([{clip.replace("'", '"')}])
for label, probability in sorted(zip(system.labels, probabilities), key=lambda pair: -pair[1]):
    print(f"{{label}}: {{probability:.3f}}")
'''
