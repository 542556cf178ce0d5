"""Training what stands between an encoder and a language model: what changes, how fast, and after a stop."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from emoser_lib.systems.arms import arm_values
from emoser_lib.systems.declared import Linear, Lora, Queries, Training
from emoser_lib.systems.fitting import fit, load_trained, trained_parameters
from emoser_lib.systems.hearing.bridges import Joined
from emoser_lib.systems.reading.lora import adapted
from tests import tiny


def test_only_the_bridge_is_trained_and_a_batch_of_it_can_be_kept(tmp_path: Path) -> None:
    llm = tiny.llm("gemma3")
    before = {name: p.clone() for name, p in llm.named_parameters()}
    learnt = tiny.examples(6)
    made = tiny.task(llm, Linear(), learnt, weights=(1.0, 1.0, 1.0), lengths=[5, 8, 3, 9, 2, 4])
    made.model.train()
    assert not llm.training, "the dropout of what is frozen is not part of the training"
    trained = fit(made, Training(epochs=30, batch_size=3, learning_rate=1e-2), tmp_path)
    assert trained.scores.shape == (30, 6, 3)
    assert trained.scores[-1].argmax(axis=1).tolist() == learnt.labels
    assert trained.trainable == sum(p.numel() for p in made.model.joined.parameters())
    assert all(torch.equal(p, before[name]) for name, p in llm.named_parameters())
    kept = trained_parameters(made.model)
    assert all(name.startswith("joined.") for name in kept)
    from safetensors.torch import save_file

    save_file(kept, tmp_path / "kept.safetensors")
    fresh = tiny.task(llm, Linear(), learnt, lengths=[5, 8, 3, 9, 2, 4])
    load_trained(fresh.model, tmp_path / "kept.safetensors")
    torch.testing.assert_close(fresh.scores(), made.scores())


def test_with_an_adapter_bridge_and_adapter_are_trained_together(tmp_path: Path) -> None:
    with adapted(tiny.llm("llama"), Lora(2, 4, "q,v", 0.0)) as llm:
        made = tiny.task(llm, Queries(3, 1, 2, 16, 16, 0.0), tiny.examples())
        names = trained_parameters(made.model)
        fit(made, Training(epochs=2, batch_size=2, learning_rate=1e-2), tmp_path)
        changed = {name for name, p in trained_parameters(made.model).items() if not torch.equal(p, names[name])}
    assert any("lora_B" in name for name in changed)
    assert any("queries" in name for name in changed)


def test_a_training_is_that_of_torch_written_out(tmp_path: Path) -> None:
    """The released arm's optimiser, step by step: order of the clips, betas, decay of all, schedule, no clipping."""
    values = arm_values("whisper-gemma", "released")
    given = {field.name: values[field.name] for field in fields(Training) if field.name in values}
    training = Training(epochs=4, batch_size=2, learning_rate=1e-2, **{**given, "decay_epochs": 2})
    ours, theirs = (tiny.task(tiny.llm("gemma"), Linear(), tiny.examples()) for _ in range(2))
    fit(ours, training, tmp_path)
    parameters = list(theirs.model.joined.parameters())
    optimizer = torch.optim.AdamW(parameters, 1e-2, betas=(0.9, 0.98), eps=1e-5, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=2)
    for _ in range(4):
        for clips in ([0, 1], [2, 3]):
            batch = theirs.batch(clips)
            optimizer.zero_grad()
            theirs.loss(batch, theirs.items(batch)).backward()
            optimizer.step()
        schedule.step()
    for mine, other in zip(ours.model.joined.parameters(), parameters, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5)


MAPPER = Queries(3, 1, 2, 16, 16, 0.0)


def test_what_stands_next_to_frozen_models_has_a_rate_of_its_own(tmp_path: Path) -> None:
    """As torch's optimiser with two groups, written out."""
    ours, theirs = (tiny.task(tiny.llm("gemma"), MAPPER, tiny.examples()) for _ in range(2))
    training = Training(epochs=3, batch_size=2, learning_rate=1e-3, outer_rate=7.0, clip=0.0, shuffle=False)
    fit(ours, training, tmp_path)
    joined: Any = theirs.model.joined
    outer = list(joined.bridge.exit.parameters())
    inner = [p for p in joined.parameters() if not any(p is other for other in outer)]
    optimizer = torch.optim.AdamW([{"params": inner}, {"params": outer, "lr": 7e-3}], lr=1e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 6)
    theirs.model.train()
    for clips in ([0, 1], [2, 3]) * 3:
        batch = theirs.batch(clips)
        optimizer.zero_grad()
        theirs.loss(batch, theirs.items(batch)).backward()
        optimizer.step()
        schedule.step()
    for (name, mine), other in zip(ours.model.joined.named_parameters(), joined.parameters(), strict=True):
        # The keys' bias changes nothing, so its gradient is rounding, which Adam makes as large as any other.
        if not name.endswith("in_proj_bias"):
            torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-4, msg=name)


def test_a_stopped_training_with_two_rates_goes_on_to_the_same(tmp_path: Path) -> None:
    training = Training(epochs=3, batch_size=2, learning_rate=1e-3, outer_rate=7.0)
    whole = fit(tiny.task(tiny.llm("gemma"), MAPPER, tiny.examples()), training, tmp_path / "whole", save_steps=1)
    stopped = tiny.task(tiny.llm("gemma"), MAPPER, tiny.examples())
    loss, steps = stopped.loss, iter(range(100))

    def until(batch: Any, items: float) -> Tensor:
        if next(steps) == 3:
            raise KeyboardInterrupt
        return loss(batch, items)

    stopped.loss = until  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, training, tmp_path / "stopped", save_steps=1)
    again = fit(tiny.task(tiny.llm("gemma"), MAPPER, tiny.examples()), training, tmp_path / "stopped", save_steps=1)
    assert again.steps < whole.steps
    np.testing.assert_allclose(again.scores, whole.scores, atol=1e-6)


def test_the_layers_sum_is_next_to_a_frozen_model_too() -> None:
    layered = Joined(MAPPER, 3, tiny.WIDTH, 32)
    names = {name for name, p in layered.named_parameters() if any(p is other for other in layered.outer)}
    assert names == {"sum.scores", "bridge.exit.weight", "bridge.exit.bias"}
    assert len(Joined(Linear(), 1, tiny.WIDTH, 32).outer) == 2


def test_activations_computed_twice_train_the_same(tmp_path: Path) -> None:
    scores = []
    for again in (False, True):
        with adapted(tiny.llm("llama"), Lora(2, 4, "q,v", 0.0)) as llm:
            made = tiny.task(llm, Linear(), tiny.examples())
            training = Training(epochs=2, batch_size=2, learning_rate=1e-2, activation_checkpointing=again)
            scores.append(fit(made, training, tmp_path / str(again)).scores)
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
