"""Train what a system leaves open, with the transformers Trainer: hyper-parameters, checkpoints, going on after a stop.

What is trained is a `Task`: it knows its model, makes batches of clip numbers, and scores the clips held out.
"""

import math
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from emoser_lib.errors import DataError, EmoserError, UsageError
from emoser_lib.files import damage, make_folder, remove, seal, writing
from emoser_lib.systems.declared import Training
from emoser_lib.systems.device import enough_memory, processes
from emoser_lib.systems.progress import Teller

WEIGHTS = "trained.safetensors"
"""The trained parameters in a checkpoint; the frozen ones are in their own checkpoint."""

SCORES = "scores.npy"
"""The scores of the epochs so far in a checkpoint, float32 [epochs, held-out clips, labels]."""


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes:
        scores: log-probability of each label, float32 [epochs, held-out clips, labels].
        log: one entry each few steps: step, epoch, loss, learning_rate, grad_norm.
        trainable: number of trained parameters.
        steps: run here; fewer than all where a stopped training was gone on with.
        device: where they were trained.
        processes: that trained together, each on its part of every batch.
    """

    scores: np.ndarray
    log: list[dict[str, float]]
    trainable: int
    steps: int
    device: str = "cpu"
    processes: int = 1


class Task(Protocol):
    """What is trained, and on what."""

    clips: int
    """How many there are to learn from."""

    @property
    def ids(self) -> Sequence[str]:
        """What errors call the clips; empty: by their numbers."""

    @property
    def outer(self) -> Sequence[nn.Parameter]:
        """What `Training.outer_rate` is for; may be empty."""

    @property
    def model(self) -> nn.Module:
        """Its parameters that require gradients are trained and kept in checkpoints; the others are left alone."""

    def batch(self, clips: Sequence[int]) -> Any:
        """A batch of these clips, with a method ``to`` for the device."""

    def items(self, batch: Any) -> float:
        """How much the batch counts in the mean that the loss is: its label pieces, clips or their weights."""

    def loss(self, batch: Any, items: float) -> Tensor:
        """The sum of the batch's losses, divided by the items of all batches of one update."""

    def scores(self) -> Tensor:
        """Log-probabilities of the clips held out, [clips, labels], as the model stands."""


@dataclass
class OneDevice(TrainingArguments):
    """The Trainer's arguments for a process that computes on one device: where the model is.

    By themselves they take the first GPU there is, and with several GPUs as many batches at once.

    Attributes:
        on: the device.
    """

    on: str = "cpu"

    @cached_property
    def _setup_devices(self) -> torch.device:
        _ = super()._setup_devices  # joins the processes that train together
        self.distributed_state.device = torch.device(self.on)
        self._n_gpu = 1
        return self.distributed_state.device

    @property
    def place_model_on_device(self) -> bool:
        """The model is there."""
        return False


class TaskTrainer(Trainer):
    """The Trainer on a task. Its dataset is the clips' numbers; the collator looks them up.

    Of several processes each takes its part of every batch, and the sum of their gradients makes the update: that of
    one process, but for dropout, which each draws for itself.
    """

    loss_is_scaled_for_ga = True

    def __init__(self, task: Task, args: TrainingArguments, training: Training | None = None) -> None:
        self.task, self.training = task, training
        self.scores: list[np.ndarray] = []  # of each epoch, in the first process
        super().__init__(task.model, args, self._collate, train_dataset=range(task.clips))

    def _collate(self, clips: Sequence[int]) -> dict[str, Any]:
        """This process's part; where the last batch has none for it, a clip that does not count."""
        part = clips[self.args.process_index :: self.args.world_size]
        taken = part or clips[:1]
        return {"batch": self.task.batch(taken), "clips": list(taken), "counts": bool(part)}

    def get_train_dataloader(self) -> DataLoader:
        """The same batches in every process."""
        loader = super().get_train_dataloader()
        if self.args.world_size > 1:
            loader.batch_sampler.num_processes, loader.batch_sampler.process_index = 1, 0  # type: ignore[union-attr]
        return loader

    def training_step(self, *given: Any, **more: Any) -> Tensor:
        """The Trainer's; the last one before an update sums up the gradients of all processes."""
        loss = super().training_step(*given, **more)
        if self.args.world_size > 1 and self.accelerator.sync_gradients:
            for parameter in self.task.model.parameters():
                if parameter.requires_grad:
                    parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                    distributed.all_reduce(parameter.grad)
        return loss * self.args.world_size  # the Trainer logs the mean of what the processes return

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """The batches of one update, and how much they count in all: what their loss is divided by."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        items = sum(self.task.items(inputs["batch"]) for inputs in batches if inputs["counts"])
        if self.args.world_size > 1:
            items = self.accelerator.reduce(torch.tensor(float(items), device=device)).item()
        return batches, items

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | float | None = None,
    ) -> Any:
        """The task's."""
        batch = inputs["batch"]
        items = self.task.items(batch) if num_items_in_batch is None else float(num_items_in_batch)
        loss = self.task.loss(batch, items) * inputs["counts"]
        if not torch.isfinite(loss):
            raise DataError(self._not_finite(inputs["clips"], loss.item()))
        return (loss, None) if return_outputs else loss

    @torch.no_grad()
    def _not_finite(self, clips: Sequence[int], loss: float) -> str:
        """Which of the clips it is, by itself, or all of them."""
        alone = [self.task.loss(self.task.batch([clip]).to(self.args.device), 1.0) for clip in clips]
        found = [clip for clip, own in zip(clips, alone, strict=True) if not torch.isfinite(own)] or clips
        names = ", ".join(self.task.ids[clip] if self.task.ids else f"number {clip + 1}" for clip in found)
        way = "use a smaller learning_rate" if self.state.global_step else "use dtype float32 or another checkpoint"
        return f"the loss of clip {names} is {loss} at step {self.state.global_step + 1}: {way}."

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """`Training.rate`; without a training, what the arguments ask for."""
        training = self.training
        if training is None:
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:
            optimizer = optimizer or self.optimizer
            assert optimizer is not None
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda step: training.rate(step, num_training_steps)
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The Trainer's, with a group of its own for what has another rate."""
        optimizer = super().create_optimizer(model)
        times = 1.0 if self.training is None else self.training.outer_rate
        outer = {id(parameter) for parameter in self.task.outer}
        if times == 1.0 or not outer:
            return optimizer
        group = optimizer.param_groups[0]
        apart = [parameter for parameter in group["params"] if id(parameter) in outer]
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in outer]
        same = {name: value for name, value in group.items() if name != "params"}
        optimizer.add_param_group({**same, "params": apart, "lr": group["lr"] * times})
        return optimizer

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """All of them, as torch's AdamW does; the Trainer would leave biases and normalisations out."""
        return [name for name, _ in model.named_parameters()]

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        assert output_dir is not None
        if not self.args.should_save:
            return  # all processes are asked; only the first one has the scores
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        save_file(trained_parameters(self.task.model), Path(output_dir) / WEIGHTS)
        np.save(Path(output_dir) / SCORES, np.array(self.scores, np.float32))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """The Trainer's; then, last of all, what belongs to it."""
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()  # each process writes its own random numbers' state
        if self.is_world_process_zero():
            checkpoint = self.checkpoint(self.state.global_step)
            seal(checkpoint, of=_owner(checkpoint))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_trained(self.task.model, Path(resume_from_checkpoint) / WEIGHTS)
        self.scores += list(np.load(Path(resume_from_checkpoint) / SCORES))

    def checkpoint(self, step: int) -> Path:
        """Where that of a step is."""
        return Path(str(self.args.output_dir)) / f"checkpoint-{step}"


def trained_parameters(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the parameters that are trained, by name."""
    named = model.named_parameters()
    return {name: p.detach().cpu().clone().contiguous() for name, p in named if p.requires_grad}


def load_trained(model: nn.Module, path: Path) -> None:
    """Put trained parameters back into a model of the same shape.

    Raises:
        DataError: the file is not of this model.
    """
    stored = load_file(path)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if stored.keys() != trained.keys():
        raise DataError(f"{path} holds the parameters of another system: delete it, it is then trained again.")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(stored[name])


class _Score(TrainerCallback):
    """After each epoch, score the held-out clips: before the Trainer's checkpoint of the same step is written."""

    def __init__(self, task: Task, scores: list[np.ndarray]) -> None:
        self.task, self.scores = task, scores

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        steps = math.ceil(state.max_steps / args.num_train_epochs)
        if state.global_step % steps or not state.is_world_process_zero:
            return
        self.task.model.eval()
        smaller = "use dtype bfloat16 or, of sound, shorter clips"
        with torch.no_grad(), enough_memory(args.device, "scoring the clips held out", smaller):
            scores = self.task.scores()
        self.scores.append(scores.float().cpu().numpy())

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        norm = given["logs"].get("grad_norm", 0.0)
        if not math.isfinite(norm):
            raise DataError(f"the gradient's norm is {norm} at step {state.global_step}: use a smaller learning_rate.")


class TrainingStopped(EmoserError):
    """Error: the process was asked to end (SIGTERM); the training is saved up to its last step and can go on."""


class _Progress(TrainerCallback):
    """Tell how far the training is; when the process is asked to end, have the step saved and stop."""

    def __init__(self) -> None:
        self.asked, self.teller = False, Teller()
        self.loss: float | None = None

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        self.teller.tell(state.global_step, state.max_steps, state.epoch or 0.0, self.loss)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        self.teller.tell(state.global_step, state.max_steps, state.epoch or 0.0, self.loss)
        if self.asked and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        self.loss = given["logs"].get("loss", self.loss)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear SIGTERM. Processes that train together do not: each would stop at a step of its own."""
        if processes() > 1 or threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, frame: Any) -> None:
            self.asked = True

        before = signal.signal(signal.SIGTERM, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


def fit(task: Task, training: Training, folder: Path, save_steps: int = 50) -> Trained:
    """Train a task; after each epoch score the clips held out.

    What is in ``folder`` of the same training that was stopped, even killed, is gone on from, with the same result
    as in one go: from the last checkpoint that is whole, as its manifest says. One that is not is removed, with a
    warning.

    Asked to end by SIGTERM, as a cluster does before the time of a job is over, it saves its step first.

    Under torchrun or ``accelerate launch`` each process trains on its part of every batch, with the same result, but
    for dropout and for the auxiliary task's mean, which is over the part.

    Args:
        task: with its first values, drawn with the training's seed.
        training: the hyper-parameters.
        folder: for checkpoints; it belongs to this training alone.
        save_steps: steps between two checkpoints (our choice).

    Raises:
        UsageError: the batch cannot be shared by the processes, the model is on several devices, or what is trained of
            it is not float32.
        DataError: the loss is not finite, the memory too small, or the disk full.
        TrainingStopped: SIGTERM came.
    """
    if training.batch_size % processes():
        raise UsageError(f"batch_size is {training.batch_size} for {processes()} processes: take a multiple of them.")
    devices = sorted({str(parameter.device) for parameter in task.model.parameters()})
    if len(devices) > 1:
        raise UsageError(f"the model's parts are on {' and '.join(devices)}: load all of them on one device.")
    named = task.model.named_parameters()
    if half := [name for name, p in named if p.requires_grad and p.dtype != torch.float32]:
        raise UsageError(f"{half[0]} is trained in 16 bits, where small updates vanish: make it float32.")
    updates = math.ceil(math.ceil(task.clips / training.batch_size) / training.accumulation)
    arguments = _arguments(training, folder, save_steps, log_steps=max(1, updates // 20), on=devices[0])
    with arguments.main_process_first():
        make_folder(folder, folder.parent)
        start = _last_checkpoint(folder)
    trainer = TaskTrainer(task, arguments, training)
    trainer.remove_callback(PrinterCallback)  # the log is returned
    trainer.add_callback(_Score(task, trainer.scores))
    progress = _Progress()
    trainer.add_callback(progress)
    smaller = "lower batch_size and raise accumulation by as much, or set activation_checkpointing"
    with (
        writing(folder),
        progress.listening(),
        enough_memory(devices[0], f"steps of {training.batch_size} clips", smaller),
    ):
        trainer.train(resume_from_checkpoint=None if start is None else str(start))
    if progress.asked and trainer.state.global_step < trainer.state.max_steps:
        raise TrainingStopped(f"stopped by a signal, saved at step {trainer.state.global_step}: run it again to go on.")
    trainer.accelerator.wait_for_everyone()
    scores = np.load(trainer.checkpoint(trainer.state.global_step) / SCORES)  # every process reads those of the first
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    trainable = sum(p.numel() for p in task.model.parameters() if p.requires_grad)
    steps = trainer.state.global_step - _step(start)
    return Trained(scores, log, trainable, steps, arguments.on, arguments.world_size)


def _arguments(training: Training, folder: Path, save_steps: int, log_steps: int, on: str) -> OneDevice:
    return OneDevice(
        output_dir=str(folder),
        on=on,
        use_cpu=on == "cpu",
        accelerator_config={"even_batches": False},  # no clip twice to fill the last batch
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.accumulation,
        activation_checkpointing=training.activation_checkpointing,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        adam_beta1=training.betas[0],
        adam_beta2=training.betas[1],
        adam_epsilon=training.epsilon,
        max_grad_norm=training.clip,
        train_sampling_strategy="random" if training.shuffle else "sequential",
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
    """The last whole checkpoint. Those that are not whole are removed: a kill left them half, or they are damaged."""
    wrong, whole = "", None
    for path in sorted(folder.glob("checkpoint-*"), key=_step):
        if said := damage(path, _owner(path)):
            wrong = f"{path} is not whole ({said})"
            remove(path)
        else:
            whole = path
    if wrong:
        warnings.warn(f"{wrong}: the training goes on from {whole.name if whole else 'its beginning'}", stacklevel=3)
    return whole


def _owner(checkpoint: Path) -> str:
    """Whose a checkpoint is: the name of the folder that the training was given lies in, which is its key."""
    return checkpoint.absolute().parent.parent.name


def _step(checkpoint: Path | None) -> int:
    """Of a folder with another name: before all others."""
    number = checkpoint.name.removeprefix("checkpoint-") if checkpoint else "0"
    return int(number) if number.isdecimal() else -1
