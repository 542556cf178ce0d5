"""What all contenders train on: one model, one first adapter, the same clips as text and as tokens."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    PreTrainedTokenizerBase,
)

from benchmarks.contenders import Clip
from emoser_lib.corpora import data_home, load_corpus
from emoser_lib.systems.checkpoints.catalogue import CHECKPOINTS, DEMO, PROVENANCE
from emoser_lib.systems.checkpoints.folders import find_checkpoint, local_checkpoint, weights_sha256
from emoser_lib.systems.declared import Lora
from emoser_lib.systems.prompts.text import PROMPTS
from emoser_lib.systems.prompts.words import NOUNS
from emoser_lib.systems.reading.lora import add_lora
from emoser_lib.systems.reading.verbaliser import Verbaliser

GEMMA = "google/gemma-3-270m"
PROMPT = PROMPTS["gemma-six"]
LORA = Lora(rank=16, alpha=32, targets="all-linear", dropout=0.0)
CLIPS = 64
LENGTHS = (16, 64, 192)
"""About how many tokens a transcription has in the study of how time grows with them (our choice)."""

RANDOM = {"vocab_size": 262_144, "hidden_size": 160, "intermediate_size": 640, "num_hidden_layers": 14}
"""About 50 million parameters, most of them the vocabulary, as in gemma-3-270m."""
TINY = {"vocab_size": 16_384, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}


@dataclass(frozen=True)
class Workload:
    """One model and the clips; `long` are clips of fixed lengths, ``len(LENGTHS)`` times four of them."""

    name: str
    note: str
    sha256: str
    model: Path
    adapter: Path
    corpus: str
    prefix: list[int]
    clips: list[Clip]
    long: list[Clip]
    words: list[list[int]]

    @property
    def max_length(self) -> int:
        """Tokens of the longest clip: nothing is cut."""
        return max(len(clip.ids) + len(clip.target) for clip in self.clips + self.long)


def prepare(scratch: Path, quick: bool) -> Workload:
    """Find or make the model, draw the clips and the first adapter. The same call gives the same work."""
    scratch.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    name, model = _model(scratch, quick)
    sha256 = weights_sha256(model)
    notes = [CHECKPOINTS[name].note if name in CHECKPOINTS else "random weights", PROVENANCE.get(sha256, "")]
    adapter = scratch / f"adapter-{sha256[:12]}"
    if not (adapter / "adapter_config.json").is_file():
        causal = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        add_lora(causal, LORA).save_pretrained(adapter)
    tokenizer = AutoTokenizer.from_pretrained(model)
    corpus, texts, labels = _transcriptions()
    drawn = random.Random(0).sample(range(len(texts)), CLIPS)
    some, of = [texts[i] for i in drawn], [labels[i] for i in drawn]
    long = [_of_length(tokenizer, texts[start:], length) for length in LENGTHS for start in (0, 100, 200, 300)]
    prompts = PROMPT.encode(tokenizer, some + long)
    verbaliser = Verbaliser.build(tokenizer, NOUNS, after=prompts.tail)
    ids = dict(zip(verbaliser.labels, verbaliser.ids, strict=True))
    clips = [
        Clip(PROMPT.render(text).strip(), NOUNS[label], prompts.prefix + rest, list(ids[label]))
        for text, label, rest in zip(some + long, of + ["neutral"] * len(long), prompts.rests, strict=True)
    ]
    note = ", ".join(filter(None, notes))
    words = [list(word) for word in verbaliser.ids]
    return Workload(name, note, sha256, model, adapter, corpus, prompts.prefix, clips[:CLIPS], clips[CLIPS:], words)


def _model(scratch: Path, quick: bool) -> tuple[str, Path]:
    """gemma-3-270m where it is; else, and for a quick run, random weights with the demo model's tokenizer."""
    real = None if quick else local_checkpoint(GEMMA)
    if real is not None:
        return GEMMA, real
    folder = scratch / "model"
    if not (folder / "model.safetensors").is_file():
        sizes = TINY if quick else RANDOM
        config = Gemma3TextConfig(**sizes, num_attention_heads=4, num_key_value_heads=1, head_dim=64)
        tokenizer = AutoTokenizer.from_pretrained(find_checkpoint(DEMO))
        for token in ("bos", "eos", "pad"):
            setattr(config, f"{token}_token_id", getattr(tokenizer, f"{token}_token_id"))
        tokenizer.save_pretrained(folder)
        Gemma3ForCausalLM(config).save_pretrained(folder)
    return f"random-gemma-3-{'tiny' if quick else '50m'}", folder


def _transcriptions() -> tuple[str, list[str], list[str]]:
    """Training clips of EmoSPeech where it is, else of the demo corpus."""
    corpus = load_corpus("emospeech" if (data_home() / "meacorpus").is_dir() else "demo")
    rows = corpus.training()
    return corpus.name, list(rows["transcription"]), list(rows["label"])


def _of_length(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], tokens: int) -> str:
    """So many words of these texts that they have about that many tokens."""
    words = " ".join(texts[:100]).split()
    pieces = tokenizer(words, add_special_tokens=False)["input_ids"]
    ends = accumulate(map(len, pieces))
    return " ".join(word for word, end in zip(words, ends, strict=True) if end <= tokens)
