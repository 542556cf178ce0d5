"""A training means what it says on every machine: one device, one batch size, however many processors there are."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from emoser_lib.cli.progress import progress_of
from emoser_lib.errors import DataError, UsageError
from emoser_lib.systems.declared import AudioSystem, Linear, Lora, Training
from emoser_lib.systems.fitting import TaskTrainer, TrainingStopped, _arguments, fit, trained_parameters
from emoser_lib.systems.hearing.assembly import add_encoder_lora, assembled
from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.progress import Teller, read_progress
from emoser_lib.systems.reading.llm import load_llm
from emoser_lib.systems.reading.lora import adapted
from tests import tiny

TOY = Training(epochs=2, batch_size=4, learning_rate=1e-2)


def test_a_model_on_the_cpu_stays_there_beside_an_accelerator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The Trainer would move it, and the prefix that was run before would be elsewhere."""
    expected = fit(tiny.task(tiny.llm("gemma"), Linear(), tiny.examples()), TOY, tmp_path / "alone").scores
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    made = tiny.task(tiny.llm("gemma"), Linear(), tiny.examples())
    assert np.array_equal(fit(made, TOY, tmp_path / "beside").scores, expected)
    assert {parameter.device.type for parameter in made.model.parameters()} == {"cpu"}


def test_two_gpus_are_one_device_and_one_batch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The meta device stands for the second GPU: nothing is moved there, nothing is taken from the first."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    made = tiny.task(tiny.llm("llama").to("meta"), Linear(), tiny.examples())
    arguments = _arguments(TOY, tmp_path, save_steps=50, log_steps=1, on="meta")
    trainer = TaskTrainer(made, arguments, TOY)
    assert (arguments.n_gpu, arguments.train_batch_size, str(arguments.device)) == (1, 4, "meta")
    assert str(trainer.accelerator.device) == "meta"
    assert trainer.get_train_dataloader().batch_sampler.batch_size == 4
    assert {parameter.device.type for parameter in trainer.model.parameters()} == {"meta"}


def test_a_model_on_two_devices_is_refused(tmp_path: Path) -> None:
    made = tiny.task(tiny.llm("gemma"), Linear(), tiny.examples())
    made.model.joined.to("meta")
    with pytest.raises(UsageError, match="parts are on cpu and meta: load all of them on one device"):
        fit(made, TOY, tmp_path)


TWO_PROCESSES = """
import json, os, sys, time
from pathlib import Path
from safetensors.torch import save_file
from torch.multiprocessing import start_processes
from emoser_lib.systems import fitting
from emoser_lib.systems.declared import Linear, Training
from emoser_lib.systems.fitting import fit, trained_parameters
from tests import tiny

def late(*given):
    time.sleep(1)
    save_file(*given)

def train(rank, folder, training):
    if rank:
        fitting.save_file = late  # after the first process, if this one writes at all
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    made = tiny.task(tiny.llm("gemma"), Linear(), tiny.examples(5), lengths=(9, 3, 14, 1, 6))
    trained = fit(made, Training(**training), folder)
    save_file(trained_parameters(made.model), folder / f"process-{rank}.safetensors")
    told = [trained.processes, trained.scores.tolist(), [entry["loss"] for entry in trained.log]]
    (folder / f"process-{rank}.json").write_text(json.dumps(told))

start_processes(train, (Path(sys.argv[1]), json.loads(sys.argv[2])), nprocs=2, start_method="fork")
"""
"""As torchrun starts them, but for the imports, which take longer than the training and are done once."""


def test_two_processes_train_as_one(root: Path, tmp_path: Path) -> None:
    """Five clips in batches of four: the second batch has none for the second process."""
    how = {"epochs": 3, "batch_size": 4, "learning_rate": 1e-2}
    made = tiny.task(tiny.llm("gemma"), Linear(), tiny.examples(5), lengths=(9, 3, 14, 1, 6))
    alone = fit(made, Training(**how), tmp_path / "alone")
    both = tmp_path / "both"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-c", TWO_PROCESSES, str(both), json.dumps(how)]
    subprocess.run(command, cwd=root, env=os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}, check=True)
    for rank in (0, 1):
        processes, scores, losses = json.loads((both / f"process-{rank}.json").read_text())
        assert processes == 2
        np.testing.assert_allclose(scores, alone.scores, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(losses, [entry["loss"] for entry in alone.log], rtol=1e-5, atol=1e-5)
        weights = load_file(both / f"process-{rank}.safetensors")
        for name, trained in trained_parameters(made.model).items():
            torch.testing.assert_close(weights[name], trained, rtol=1e-5, atol=1e-5)


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UsageError, match="batch_size is 4 for 3 processes: take a multiple of them"):
        fit(tiny.task(tiny.llm("gemma"), Linear(), tiny.examples()), TOY, tmp_path)


def test_what_is_trained_is_float32_beside_half_precision(encoder: Encoder, tmp_path: Path) -> None:
    with adapted(tiny.llm("llama").bfloat16(), Lora(2, 4, "q,v", 0.0)) as llm:
        made = tiny.task(llm, Linear(), tiny.examples())
        assert {p.dtype for p in trained_parameters(made.model).values()} == {torch.float32}
        fit(made, TOY, tmp_path)
    with assembled(load_llm("emoser/demo-gemma"), AudioSystem(encoding="trained"), encoder.bfloat16()) as along:
        assert {p.dtype for p in trained_parameters(along).values()} == {torch.float32}
    ears = add_encoder_lora(encoder.bfloat16(), Lora(2, 4))
    assert {p.dtype for p in trained_parameters(ears).values()} == {torch.float32}
    assert ears([np.ones(1_600, np.float32)]).values.dtype == torch.bfloat16


def test_training_in_16_bits_is_refused(tmp_path: Path) -> None:
    made = tiny.task(tiny.llm("gemma"), Linear(), tiny.examples())
    made.model.joined.bfloat16()
    with pytest.raises(UsageError, match=r"joined\S+ is trained in 16 bits, where small updates vanish: make"):
        fit(made, TOY, tmp_path)


@pytest.mark.parametrize("room", [500, 6_000])
def test_a_full_disk_is_named_whatever_was_being_written(room: int, tmp_path: Path) -> None:
    """Weights, optimizer or the rest: safetensors, torch and Python each have an error of their own for it."""
    made = tiny.task(tiny.llm("gemma"), Linear(), tiny.examples())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(DataError, match=rf"^{tmp_path}\S* cannot be written \(.*\): make room there or name a"):
            fit(made, replace(TOY, epochs=40), tmp_path, save_steps=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_loss_that_is_no_number_names_its_clip(tmp_path: Path) -> None:
    made = tiny.task(tiny.llm("gemma"), Linear(), tiny.examples())
    made.features.frames["2"][0, 0, 0] = float("nan")
    with pytest.raises(DataError, match=r"^the loss of clip 2 is nan at step 1: use dtype float32 or another"):
        fit(made, TOY, tmp_path)


def test_scores_that_are_no_numbers_name_their_clip() -> None:
    made = tiny.task(tiny.llm("gemma"), Linear(), tiny.examples())
    made.features.frames["3"][0, 0, 0] = float("inf")
    with pytest.raises(DataError, match=r"^the scores of clip 3 are not finite: use dtype float32"):
        made.scores()


def test_a_label_that_is_out_of_the_question_has_a_score_all_the_same() -> None:
    """Over a hundred nats behind: as a probability it is 0, and the log of that is no number."""
    held_out = replace(tiny.examples(4), clips=[0, 1, 0, 1])  # two windows each
    made = tiny.task(tiny.llm("llama"), Linear(), tiny.examples(), held_out)
    with torch.no_grad():
        made.model.llm.lm_head.weight.mul_(2_000)
    entries = made.scores_of(range(4)).double()
    assert entries.min() < -150
    scores = made.scores()
    assert torch.isfinite(scores).all()
    expected = entries.view(2, 2, 3).logsumexp(dim=0) - np.log(2)
    torch.testing.assert_close(scores.double(), expected, atol=1e-4, rtol=1e-6)


def test_too_little_memory_is_told_with_what_to_lower(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The allocator's own error: in a step, in scoring, and of a GPU."""
    made = tiny.task(tiny.llm("gemma"), Linear(), tiny.examples())
    with monkeypatch.context() as patch:
        patch.setattr(made, "loss", lambda batch, items: torch.empty(2**60))
        with pytest.raises(
            DataError, match="the memory of cpu is too small for steps of 4 clips: lower batch_size and"
        ):
            fit(made, TOY, tmp_path / "steps")
    with monkeypatch.context() as patch:
        patch.setattr(made, "scores", lambda: torch.empty(2**60))
        with pytest.raises(DataError, match="too small for scoring the clips held out: use dtype bfloat16 or"):
            fit(made, TOY, tmp_path / "scores")

    def full(batch: object, items: float) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(made, "loss", full)
    with pytest.raises(DataError, match="or set activation_checkpointing"):
        fit(made, TOY, tmp_path / "gpu")
    monkeypatch.setattr(made, "loss", lambda batch, items: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        fit(made, TOY, tmp_path / "another")


def test_asked_to_end_it_saves_its_step_and_goes_on_to_the_same_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a cluster asks, by SIGTERM, before the time of a job is over."""
    how = replace(TOY, epochs=6)
    whole = fit(tiny.task(tiny.llm("gemma"), Linear(), tiny.examples()), how, tmp_path / "whole" / "training")
    tell, before = Teller.tell, signal.getsignal(signal.SIGTERM)

    def ask_at_three(self: Teller, step: int, *rest: Any) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        tell(self, step, *rest)

    monkeypatch.setattr(Teller, "tell", ask_at_three)
    folder = tmp_path / "asked" / "training"
    with pytest.raises(TrainingStopped, match="saved at step 3"):
        fit(tiny.task(tiny.llm("gemma"), Linear(), tiny.examples()), how, folder)
    assert signal.getsignal(signal.SIGTERM) == before
    monkeypatch.setattr(Teller, "tell", tell)
    on = fit(tiny.task(tiny.llm("gemma"), Linear(), tiny.examples()), how, folder)
    assert on.steps == whole.steps - 3
    assert np.array_equal(on.scores, whole.scores)


def test_a_training_tells_its_run_how_far_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMOSER_RUN_FOLDER", str(tmp_path))
    fit(tiny.task(tiny.llm("gemma"), Linear(), tiny.examples()), TOY, tmp_path / "training")
    told = read_progress(tmp_path)
    assert told is not None
    assert (told.step, told.steps, told.epoch) == (2, 2, 2.0)
    assert told.loss is not None
    assert told.loss > 0
    (tmp_path / "at-cell.json").write_text("[3, 9]")
    assert progress_of(tmp_path) == "cell 3 of 9", "a training that has ended says nothing"
    half = told.model_copy(update={"step": 1, "epoch": 1.0, "loss": 0.5, "seconds_left": 600.0})
    (tmp_path / "progress.json").write_text(half.model_dump_json())
    assert progress_of(tmp_path) == "cell 3 of 9, training step 1 of 2, epoch 1.0, loss 0.500, 10 min left"
