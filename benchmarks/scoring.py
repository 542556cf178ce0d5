"""Label scoring against generation: `PrefixCache.log_probabilities` and `generate` on the same prompts, in turn.

    python -m benchmarks.scoring GIVEN.json REPEATS

`generate` is what a user would call: whole prompts, left-padded, greedy; once with as many new tokens as the longest
label word has and an end, once with the library's default for answers in words.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from emoser_lib.systems.reading.packed_attention import attend_by_clip
from emoser_lib.systems.reading.prefix_cache import PrefixCache
from emoser_lib.systems.reading.zero_shot import Decoding

BATCH = 16


def generate(model: PreTrainedModel, clips: Sequence[list[int]], tokens: int) -> None:
    """Write exactly so many tokens for each clip: a base model seldom stops by itself."""
    for start in range(0, len(clips), BATCH):
        some = clips[start : start + BATCH]
        length = max(map(len, some))
        ids = torch.tensor([[0] * (length - len(clip)) + clip for clip in some])
        mask = torch.tensor([[0] * (length - len(clip)) + [1] * len(clip) for clip in some])
        model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False
        )


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(given: Path, repeats: int) -> None:
    task = json.loads(given.read_text())
    model = AutoModelForCausalLM.from_pretrained(task["model"], dtype=torch.float32, attn_implementation="sdpa")
    model = attend_by_clip(model.eval())
    prefix, clips, words = task["prefix"], task["clips"], task["words"]
    rests = [clip[len(prefix) :] for clip in clips]
    ways: dict[str, Callable[[], object]] = {
        "label scoring": lambda: PrefixCache(model, prefix).log_probabilities(rests, words, BATCH)
    }
    for tokens in (max(map(len, words)) + 1, Decoding().max_new_tokens):
        ways[f"generate, {tokens} tokens"] = lambda tokens=tokens: generate(model, clips, tokens)
    for way in ways.values():
        way()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            times[name].append(seconds(way))
    json.dump({"batch_size": BATCH, "clips": len(clips), "seconds": times}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
