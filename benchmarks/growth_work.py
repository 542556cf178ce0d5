"""One piece of work on so many clips, in a process of its own: processor seconds and memory, as JSON.

    python -m benchmarks.growth_work WORK CLIPS FOLDER

The corpora are made here. What is said and heard in them does not matter to the time; how often a sentence comes back
does, so there are few sentences, as in acted corpora.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch

from benchmarks.worker import high_water_mb
from emoser_lib.corpora import LABELS, Corpus, load_corpus
from emoser_lib.corpora.audio import SAMPLE_RATE
from emoser_lib.corpora.check import check
from emoser_lib.experiments import read_records
from emoser_lib.experiments.judging.intervals import approximate_randomisation, bootstrap_interval
from emoser_lib.experiments.runs.records import published_records
from emoser_lib.reporting.ledger.claims import read_claims
from emoser_lib.reporting.ledger.verdicts import find
from emoser_lib.systems import Clips, parts_of
from emoser_lib.systems.checkpoints.catalogue import DEMO
from emoser_lib.systems.classical.estimators import baseline
from emoser_lib.systems.declared import TextSystem
from emoser_lib.systems.reading.llm import load_llm
from emoser_lib.systems.reading.lora import adapted
from emoser_lib.systems.reading.text_task import TextTask, text_examples

SENTENCES, VOICES, SECONDS, STEPS, BATCH = 200, 20, 0.5, 20, 4
Work = Callable[[], object]


def table(clips: int, folder: Path) -> pd.DataFrame:
    """Write a corpus of transcriptions, and return its table."""
    draw = np.random.default_rng(0)
    words = [f"palabra{number}" for number in range(400)]
    said = [" ".join(draw.choice(words, 12)) for _ in range(SENTENCES)]
    rows = pd.DataFrame(
        {
            "id": [f"clip-{number:06}" for number in range(clips)],
            "transcription": draw.choice(said, clips),
            "label": draw.choice(LABELS, clips),
            "speaker": [f"voice-{number % VOICES}" for number in range(clips)],
            "split": ["test", *["train"] * (clips - 1)],
        }
    )
    rows.to_csv(folder / "metadata.csv", index=False)
    return rows


def texts(clips: int, folder: Path) -> Corpus:
    table(clips, folder)
    return load_corpus("folder", root=str(folder))


def read_and_check(clips: int, folder: Path) -> Work:
    table(clips, folder)
    return lambda: check(load_corpus("folder", root=str(folder)))


def decode_and_check(clips: int, folder: Path) -> Work:
    rows = table(clips, folder)
    draw = np.random.default_rng(1)
    for name in rows["id"]:
        sound = draw.normal(0, 0.1, int(SECONDS * SAMPLE_RATE)).astype(np.float32)
        soundfile.write(folder / f"{name}.wav", sound, SAMPLE_RATE)
    rows.assign(audio=rows["id"] + ".wav").to_csv(folder / "metadata.csv", index=False)
    return lambda: check(load_corpus("folder", root=str(folder)))


def answers(clips: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and the answers of two systems that are right two times in three."""
    draw = np.random.default_rng(2)
    gold = draw.choice(LABELS, clips)
    a, b = (np.where(draw.random(clips) < 2 / 3, gold, draw.choice(LABELS, clips)) for _ in range(2))
    return gold, a, b


def interval(clips: int, folder: Path) -> Work:
    gold, a, _ = answers(clips)
    return lambda: bootstrap_interval(gold, a, LABELS, method="bca")


def paired_test(clips: int, folder: Path) -> Work:
    gold, a, b = answers(clips)
    return lambda: approximate_randomisation(gold, a, b, LABELS)


def linear_classifier(clips: int, folder: Path) -> Work:
    corpus = texts(clips, folder)
    known = Clips.from_corpus(corpus, corpus.training()["id"], **parts_of(["text-svm"]))
    labels = list(corpus.training()["label"])
    model = baseline("text-svm", 0)
    return lambda: model.fit(known, labels).predict(known)


def encoding(clips: int, folder: Path) -> Work:
    corpus, llm = texts(clips, folder), load_llm(DEMO, device="cpu")
    ids = list(corpus.training()["id"])
    return lambda: text_examples(llm, TextSystem(), corpus, ids, ids[:1])


def training_steps(clips: int, folder: Path) -> Work:
    corpus, llm, system = texts(clips, folder), load_llm(DEMO, device="cpu"), TextSystem()
    ids = list(corpus.training()["id"])
    examples, held, verbaliser = text_examples(llm, system, corpus, ids, ids[:1])

    def steps() -> None:
        with adapted(llm.model, system.lora) as model:
            task = TextTask(model, examples, held, verbaliser.ids, ids)
            optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
            for number in np.linspace(0, len(ids) - BATCH, STEPS).astype(int):
                batch = task.batch(range(number, number + BATCH))
                task.loss(batch, task.items(batch)).backward()
                optimizer.step()
                optimizer.zero_grad()

    return steps


def ledger(records: int, folder: Path) -> Work:
    """The ledger beside so many records: copies of the largest that is committed, under other keys."""
    largest = max(published_records(), key=lambda record: len(record.model_dump_json()))
    for number in range(records):
        text = largest.model_copy(update={"key": f"{number:08x}"}).model_dump_json()
        (folder / f"{number}.json").write_text(text, encoding="utf-8")
    claims = read_claims()

    def judge() -> None:
        known = {record.name: record for record in [*published_records(), *read_records(folder)]}
        for claim in claims.values():
            find(claim, claims, known)

    return judge


WORKS: dict[str, Callable[[int, Path], Work]] = {
    work.__name__: work
    for work in (
        read_and_check,
        decode_and_check,
        linear_classifier,
        encoding,
        training_steps,
        interval,
        paired_test,
        ledger,
    )
}


def main(name: str, clips: int, folder: Path) -> None:
    torch.set_num_threads(1)
    work = WORKS[name](clips, folder)
    before, start = high_water_mb(), time.process_time()
    work()
    json.dump({"seconds": time.process_time() - start, "before_mb": before, "peak_mb": high_water_mb()}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
