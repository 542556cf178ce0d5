"""Peak memory of encoding and training on many clips, in a process of its own.

    python -m benchmarks.hearing_memory LLM ENCODER CLIPS HOME

The clips are noise of two to four seconds, each another; what they say does not matter to memory.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.worker import high_water_mb
from emoser_lib.corpora.audio import SAMPLE_RATE
from emoser_lib.systems.declared import Linear, Loss
from emoser_lib.systems.hearing.audio_llm import AudioLLM
from emoser_lib.systems.hearing.audio_task import AudioExamples, AudioTask
from emoser_lib.systems.hearing.encoders.loading import load_encoder
from emoser_lib.systems.hearing.feature_cache import FeatureCache
from emoser_lib.systems.prompts.text import AUDIO
from emoser_lib.systems.reading.llm import load_llm

STEPS, BATCH = 12, 4


def clips(count: int) -> Iterator[tuple[str, np.ndarray]]:
    for number in range(count):
        draw = np.random.default_rng(number)
        samples = int(SAMPLE_RATE * draw.uniform(2, 4))
        yield f"clip-{number}", draw.normal(0, 0.1, samples).astype(np.float32)


def main(llm: str, encoder: str, count: int, home: Path) -> None:
    model, heard = load_llm(llm, device="cpu").model, load_encoder(encoder, device="cpu")
    loaded = high_water_mb()
    features = FeatureCache(heard, home=home).add(clips(count))
    encoded = high_water_mb()
    bridge = Linear()
    model.requires_grad_(False)
    audio = AudioLLM(model, bridge, heard.width)
    ids = [f"clip-{number}" for number in range(count)]
    learnt = AudioExamples([2, 5, 6], [[7, AUDIO, 8]] * count, ids, range(count), [0] * count)
    task = AudioTask(audio, [[9], [10]], Loss("none"), [1.0, 1.0], learnt, learnt, features)
    optimizer = torch.optim.Adam(audio.joined.parameters())
    # Over all clips: what is read must not stay.
    for number in np.linspace(0, count - BATCH, STEPS).astype(int):
        batch = task.batch(range(number, number + BATCH))
        task.loss(batch, task.items(batch)).backward()
        optimizer.step()
        optimizer.zero_grad()
    for number in range(0, count, BATCH):
        task.batch(range(number, min(number + BATCH, count)))
    json.dump({"loaded_mb": loaded, "encoded_mb": encoded, "peak_mb": high_water_mb()}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
