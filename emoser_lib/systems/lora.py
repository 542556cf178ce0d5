"""LoRA fine-tuning of a language model on the words of labels (seed 1, section 3.1), with peft and the Trainer."""

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from emoser_lib.errors import DataError
from emoser_lib.systems.label_logits import batcher, label_logits, label_loss
from emoser_lib.systems.packing import Labels
from emoser_lib.systems.prefix_cache import PrefixCache

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from emoser_lib.systems.label_logits import Batch

TARGETS: dict[str, str | list[str]] = {"all-linear": "all-linear", "q,v": ["q_proj", "v_proj"]}
"""Names for the matrices that get an adapter -> what peft calls them. The paper does not say which it took."""


@dataclass(frozen=True)
class Lora:
    """The adapter: ΔW = (alpha / rank) · B A (seed 1, equation 1).

    Attributes:
        rank: r, columns of B and rows of A.
        alpha: α; the update is scaled by α / r.
        targets: "all-linear" (all but the output layer) or "q,v"; our choice, the paper does not say.
        dropout: on the adapter's input; our choice, the paper does not say.
    """

    rank: int = 16
    alpha: int = 32
    targets: Literal["all-linear", "q,v"] = "all-linear"
    dropout: float = 0.05


@dataclass(frozen=True)
class Training:
    """How the adapter is trained. Adam with a learning rate that falls to 0 in a straight line (seed 1, section 4.2).

    Attributes:
        epochs: 6 (seed 1).
        batch_size: clips a step, 4 (seed 1).
        learning_rate: at the start, 1e-4 (seed 1).
        accumulation: steps whose gradients are summed up before an update; 1 (our choice).
        warmup: share of the steps in which the learning rate rises; 0 (our choice).
        weight_decay: 0, so Adam (seed 1) and AdamW are one.
        clip: largest norm of the gradient; 1 (our choice).
        activation_checkpointing: compute activations twice instead of keeping them, for models that do not fit.
        seed: of the adapter's first values, the order of the clips and the dropout.
    """

    epochs: int = 6
    batch_size: int = 4
    learning_rate: float = 1e-4
    accumulation: int = 1
    warmup: float = 0.0
    weight_decay: float = 0.0
    clip: float = 1.0
    activation_checkpointing: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Examples:
    """What is learnt: token ids as `PromptBatch` and `Verbaliser` give them.

    Attributes:
        prefix: token ids all clips begin with.
        rests: per clip, the token ids from there to the last one before the answer.
        targets: per clip, the pieces of its label's word; empty for clips that are only scored.
    """

    prefix: Sequence[int]
    rests: Sequence[Sequence[int]]
    targets: Sequence[Sequence[int]] = ()


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes:
        scores: log-probability of each label's word, float32 [epochs, held-out clips, labels].
        log: one entry each few steps: step, epoch, loss, learning_rate, grad_norm.
        trainable: number of trained parameters.
        steps: run here; fewer than all where a stopped training was gone on with.
    """

    scores: np.ndarray
    log: list[dict[str, float]]
    trainable: int
    steps: int


def add_lora(model: "PreTrainedModel", lora: Lora) -> PeftModel:
    """Put a fresh adapter into a model; only the adapter is trained. B is 0, so that nothing changes at first.

    The model itself is changed; ``unload()`` of the result takes the adapter out again.

    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> tiny = LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    >>> sum(p.numel() for p in add_lora(LlamaForCausalLM(tiny), Lora(2, 4, "q,v")).parameters() if p.requires_grad)
    64
    """
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=TARGETS[lora.targets],
    )
    adapted = get_peft_model(model, config)
    assert isinstance(adapted, PeftModel)
    return adapted


@contextmanager
def adapted(model: "PreTrainedModel", lora: Lora, seed: int = 0) -> Iterator[PeftModel]:
    """The model with a fresh adapter, drawn with this seed, for as long as the block lasts."""
    torch.manual_seed(seed)
    with_adapter = add_lora(model, lora)
    try:
        yield with_adapter
    finally:
        with_adapter.unload()
        model.requires_grad_(False).eval()


class LabelTrainer(Trainer):
    """The Trainer on packed batches, with logits and loss at the label's pieces only."""

    loss_is_scaled_for_ga = True

    def __init__(self, model: PeftModel, args: TrainingArguments, examples: Examples) -> None:
        make = batcher(model)

        def collate(clips: Sequence[int]) -> dict[str, "Batch"]:
            rests, targets = ([of[clip] for clip in clips] for of in (examples.rests, examples.targets))
            return {"batch": make(examples.prefix, rests, targets)}

        # The dataset is the clips' numbers; the collator looks them up.
        super().__init__(model, args, collate, train_dataset=range(len(examples.rests)))

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, int | None]:
        """The batches of one update, and how many label pieces they have in all: what their loss is divided by."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        return batches, sum(len(inputs["batch"].labels.pieces) for inputs in batches)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Cross-entropy of the label's pieces."""
        batch = inputs["batch"]
        labels: Labels = batch.labels
        logits = label_logits(model, batch)  # type: ignore[arg-type]
        loss = label_loss(logits, labels, num_items_in_batch)
        return (loss, logits) if return_outputs else loss


class _Score(TrainerCallback):
    """After each epoch, score the held-out clips: before the Trainer's checkpoint of the same step is written."""

    def __init__(self, held_out: Examples, words: Sequence[Sequence[int]], folder: Path) -> None:
        self.held_out, self.words, self.folder = held_out, words, folder

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        steps = math.ceil(state.max_steps / args.num_train_epochs)
        if state.global_step % steps:
            return
        model = given["model"].eval()
        scores = PrefixCache(model, self.held_out.prefix).log_probabilities(self.held_out.rests, self.words)
        np.save(self.folder / f"scores-{state.global_step // steps}.npy", scores.cpu().numpy())

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        loss = given["logs"].get("loss", 0.0)
        if not math.isfinite(loss):
            raise DataError(
                f"the loss is {loss} at step {state.global_step}: use a smaller learning_rate or alpha / rank."
            )


def fine_tune(
    model: PeftModel,
    examples: Examples,
    held_out: Examples,
    words: Sequence[Sequence[int]],
    training: Training,
    folder: Path,
    save_steps: int = 50,
) -> Trained:
    """Train an adapter; after each epoch score clips that are not trained on.

    What is in ``folder`` of the same training that was stopped, even killed, is gone on from, with the same result
    as in one go.

    Args:
        model: with a fresh adapter, see `adapted`.
        examples: to learn from.
        held_out: to score; its targets are not looked at.
        words: the pieces of each label's word.
        training: the hyper-parameters.
        folder: for checkpoints; it belongs to this training alone.
        save_steps: steps between two checkpoints (our choice).

    Raises:
        DataError: the loss is not finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    start = _last_checkpoint(folder)
    updates = math.ceil(math.ceil(len(examples.rests) / training.batch_size) / training.accumulation)
    trainer = LabelTrainer(model, _arguments(training, folder, save_steps, log_steps=max(1, updates // 20)), examples)
    trainer.remove_callback(PrinterCallback)  # the log is returned
    trainer.add_callback(_Score(held_out, words, folder))
    trainer.train(resume_from_checkpoint=None if start is None else str(start))
    scores = [np.load(folder / f"scores-{epoch}.npy") for epoch in range(1, training.epochs + 1)]
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Trained(np.stack(scores), log, trainable, trainer.state.global_step - _step(start))


def _arguments(training: Training, folder: Path, save_steps: int, log_steps: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.accumulation,
        activation_checkpointing=training.activation_checkpointing,
        learning_rate=training.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=training.warmup,
        weight_decay=training.weight_decay,
        max_grad_norm=training.clip,
        seed=training.seed,
        data_seed=training.seed,
        save_steps=save_steps,
        save_total_limit=2,  # the older one goes after the newer is whole
        logging_steps=log_steps,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to="none",
    )


def _last_checkpoint(folder: Path) -> Path | None:
    """The last whole checkpoint; the Trainer writes ``trainer_state.json`` last. What a kill left half is removed."""
    for path in sorted(folder.glob("checkpoint-*"), key=_step, reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(path)
        else:
            return path
    return None


def _step(checkpoint: Path | None) -> int:
    return 0 if checkpoint is None else int(checkpoint.name.split("-")[1])
