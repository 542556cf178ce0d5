"""The contenders: each builds its own framework's trainer for the same work, set so that all have the same loss.

Each runs in a worker process (`worker.py`) of its own environment, so nothing is imported before it is asked for.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import Trainer

OPTIMISATION: dict[str, Any] = {
    "learning_rate": 1e-5,
    "lr_scheduler_type": "constant",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "optim": "adamw_torch",
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "seed": 0,
    "bf16": False,
    "logging_steps": 1,
    "save_strategy": "no",
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
}
"""What decides the loss from step to step, and what would only be noise; the same for all. The learning rate is a tenth
of the paper's: Adam's first updates are as large as it is, however small a gradient, so that rounding alone moved the
loss of two equal trainings by 2e-4 at 1e-4. Speed does not depend on it. Some defaults differ: TRL and ms-swift
compute in bf16, ms-swift has betas of 0.9 and 0.95, a weight decay of 0.1 and a cosine schedule."""


@dataclass(frozen=True)
class Clip:
    """One clip as text and as tokens: ``ids`` is the question in Gemma's chat format, ``target`` the answer."""

    question: str
    answer: str
    ids: list[int]
    target: list[int]


@dataclass(frozen=True)
class Work:
    """One training: the clips in the order of the steps, a batch of them a step."""

    model: Path
    adapter: Path
    scratch: Path
    prefix: list[int]
    clips: Sequence[Clip]
    batch_size: int
    max_length: int

    @property
    def steps(self) -> int:
        return len(self.clips) // self.batch_size

    @property
    def arguments(self) -> dict[str, Any]:
        """What every framework's training arguments have in common."""
        return OPTIMISATION | {
            "output_dir": str(self.scratch),
            "per_device_train_batch_size": self.batch_size,
            "max_steps": self.steps,
        }


@dataclass(frozen=True)
class Contender:
    """What is measured: its title, where it runs, what was set, and how its trainer is built."""

    title: str
    environment: str
    packages: tuple[str, ...]
    settings: str
    build: "Callable[[Work], Trainer]"


def _adapted(work: Work) -> Any:
    """The model with the common first adapter, as every framework on peft would load it."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(work.model, dtype=torch.float32, attn_implementation="sdpa")
    return PeftModel.from_pretrained(model, work.adapter, is_trainable=True)


def _tokenizer(work: Work) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(work.model)


def _ours(work: Work) -> "Trainer":
    from transformers import TrainingArguments

    from emoser_lib.systems.fitting import TaskTrainer
    from emoser_lib.systems.reading.packed_attention import attend_by_clip
    from emoser_lib.systems.reading.text_task import TextExamples, TextTask

    rests = [clip.ids[len(work.prefix) :] for clip in work.clips]
    examples = TextExamples(work.prefix, rests, [clip.target for clip in work.clips])
    arguments = TrainingArguments(
        **work.arguments, train_sampling_strategy="sequential", remove_unused_columns=False, report_to="none"
    )
    return TaskTrainer(TextTask(attend_by_clip(_adapted(work)), examples, held_out=examples), arguments)


def _transformers(work: Work) -> "Trainer":
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    rows = [
        {"input_ids": clip.ids + clip.target, "labels": [-100] * len(clip.ids) + clip.target} for clip in work.clips
    ]
    arguments = TrainingArguments(**work.arguments, train_sampling_strategy="sequential", report_to="none")
    tokenizer = _tokenizer(work)
    tokenizer.padding_side = "right"  # Gemma's pads on the left, for generation
    return Trainer(_adapted(work), arguments, DataCollatorForSeq2Seq(tokenizer), train_dataset=rows)


def _trl(work: Work, **options: Any) -> "Trainer":
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    # Tokenised rows: to a text dataset of prompt and completion SFTTrainer adds the end token.
    rows = [
        {"input_ids": clip.ids + clip.target, "completion_mask": [0] * len(clip.ids) + [1] * len(clip.target)}
        for clip in work.clips
    ]
    arguments = SFTConfig(
        **work.arguments,
        **options,
        completion_only_loss=True,
        max_length=work.max_length,
        train_sampling_strategy="sequential",
        report_to="none",
    )
    return SFTTrainer(
        _adapted(work), arguments, train_dataset=Dataset.from_list(rows), processing_class=_tokenizer(work)
    )


def _ms_swift(work: Work, **options: Any) -> "Trainer":
    from swift.arguments import SftArguments
    from swift.pipelines.train.sft import SwiftSft

    class Prepared(SwiftSft):
        """`swift sft` up to the point where it would train."""

        def train(self, trainer: "Trainer") -> "Trainer":
            return trainer

    # "add_eos": false in a row leaves out the end token.
    rows = [
        {
            "messages": [{"role": "user", "content": clip.question}, {"role": "assistant", "content": clip.answer}],
            "add_eos": False,
        }
        for clip in work.clips
    ]
    data = work.scratch / f"swift-{work.batch_size}-{work.steps}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    arguments = SftArguments(
        **work.arguments,
        **options,
        model=str(work.model),
        model_type="gemma3_text",
        template="gemma3_text",
        adapters=[str(work.adapter)],
        torch_dtype="float32",
        attn_impl="sdpa",
        dataset=[str(data)],
        remove_unused_columns=False,
        split_dataset_ratio=0.0,
        dataset_shuffle=False,
        train_dataloader_shuffle=False,
        load_from_cache_file=False,
        gradient_accumulation_steps=1,
        max_length=work.max_length,
        check_model=False,
        load_args=False,
        add_version=False,
        report_to=[],
    )
    return Prepared(arguments).main()


CONTENDERS: dict[str, Contender] = {
    "ours": Contender(
        "emoser",
        "project",
        ("transformers", "peft"),
        "packed batches, logits at the label only",
        _ours,
    ),
    "transformers": Contender(
        "transformers Trainer",
        "project",
        ("transformers", "peft"),
        "right-padded batches, labels −100 except on the label's tokens",
        _transformers,
    ),
    "trl": Contender(
        "TRL SFTTrainer",
        "benchmark",
        ("trl", "transformers", "peft"),
        "completion-only loss; gradient checkpointing off",
        partial(_trl, gradient_checkpointing=False),
    ),
    "ms-swift": Contender(
        "ms-swift",
        "benchmark",
        ("ms_swift", "transformers", "peft"),
        "`swift sft`; rows with `add_eos: false`; gradient checkpointing off; by default it computes logits from the "
        "first label of the batch on only",
        partial(_ms_swift, gradient_checkpointing=False),
    ),
    "trl-padding-free": Contender(
        "TRL SFTTrainer, padding-free",
        "benchmark",
        ("trl", "transformers", "peft"),
        "as above, with `padding_free=True`",
        partial(_trl, gradient_checkpointing=False, padding_free=True),
    ),
    "trl-default": Contender(
        "TRL SFTTrainer, as it comes",
        "benchmark",
        ("trl", "transformers", "peft"),
        "with its default gradient checkpointing: less memory, activations computed twice",
        _trl,
    ),
    "ms-swift-default": Contender(
        "ms-swift, as it comes",
        "benchmark",
        ("ms_swift", "transformers", "peft"),
        "with its default gradient checkpointing",
        _ms_swift,
    ),
}

OURS = "ours"
MAIN = ("ours", "transformers", "trl", "ms-swift")
"""Those the targets are about; like ours, none of them computes activations twice."""
