"""LoRA fine-tuning: the adapter is equation 1, training learns, a killed training goes on to the same result."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from emoser_lib.errors import DataError
from emoser_lib.systems.declared import Lora, Training
from emoser_lib.systems.fitting import fit, load_trained, trained_parameters
from emoser_lib.systems.reading.label_logits import label_logits
from emoser_lib.systems.reading.lora import adapted, add_lora
from emoser_lib.systems.reading.packing import pack
from emoser_lib.systems.reading.text_task import TextExamples, TextTask

PREFIX = [2, 3, 4, 5]
WORDS = ((6,), (7, 8))
"""One label is one piece, the other two."""


def tiny_model(seed: int = 0) -> PreTrainedModel:
    config = Gemma3TextConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
        initializer_range=0.1,  # random weights this size leave an adapter something to work with
    )
    torch.manual_seed(seed)
    return Gemma3ForCausalLM(config).eval()


def toy(clips: int = 64) -> tuple[TextExamples, TextExamples, list[int]]:
    """The label is whether the clip's rare token is the one or the other: a rule that can be learnt."""
    draw = np.random.default_rng(0)
    gold = [clip % 2 for clip in range(clips)]
    rests = [[*draw.integers(10, 38, draw.integers(1, 8)).tolist(), 38 + label, 9] for label in gold]
    half = clips // 2
    learnt = TextExamples(PREFIX, rests[:half], [WORDS[label] for label in gold[:half]])
    return learnt, TextExamples(PREFIX, rests[half:]), gold[half:]


TOY = Training(epochs=4, learning_rate=3e-2)


def train(folder: Path, training: Training = TOY, lora: Lora | None = None, **options: int) -> np.ndarray:
    learnt, held_out, _ = toy()
    with adapted(tiny_model(), lora or Lora(8, 16), training.seed) as model:
        return fit(TextTask(model, learnt, held_out, WORDS), training, folder, **options).scores


def test_the_adapter_is_equation_1() -> None:
    model = tiny_model()
    before = model.model.layers[0].mlp.up_proj.weight.clone()
    layer = add_lora(model, Lora(rank=4, alpha=12)).base_model.model.model.layers[0].mlp.up_proj
    torch.nn.init.normal_(layer.lora_B["default"].weight)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    x = torch.randn(5, 32)
    assert torch.allclose(layer.eval()(x), x @ (before + 12 / 4 * b @ a).T, atol=1e-5)


@pytest.mark.parametrize(
    ("targets", "expected"),
    # r (in + out) for q, k, v, o, gate, up, down of two layers
    [("all-linear", 2 * (32 + 32 + 2 * (32 + 16) + 32 + 32 + 3 * (32 + 48))), ("q,v", 2 * (32 + 32 + 32 + 16))],
)
@pytest.mark.parametrize("rank", [1, 4])
def test_trainable_parameters(targets: str, expected: int, rank: int) -> None:
    model = add_lora(tiny_model(), Lora(rank, 2 * rank, targets))  # type: ignore[arg-type]
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == rank * expected
    assert not any(p.requires_grad for name, p in model.named_parameters() if "lora" not in name)


def test_a_rule_is_learnt_and_scored_after_each_epoch(tmp_path: Path) -> None:
    scores = train(tmp_path)
    assert scores.shape == (4, 32, 2)
    right = (scores.argmax(-1) == toy()[2]).mean(axis=-1)
    assert right[-1] >= 0.9
    assert (scores < 0).all()


def test_the_model_comes_back_as_it_was(tmp_path: Path) -> None:
    model = tiny_model()
    learnt, held_out, _ = toy()
    batch = pack(learnt.prefix, learnt.rests[:4])
    before = label_logits(model, batch)
    with pytest.raises(ZeroDivisionError), adapted(model, Lora(4, 8)) as with_adapter:
        fit(TextTask(with_adapter, learnt, held_out, WORDS), replace(TOY, epochs=1), tmp_path)
        assert not torch.equal(label_logits(with_adapter, batch), before)
        raise ZeroDivisionError
    assert torch.equal(label_logits(model, batch), before)
    assert not hasattr(model, "peft_config")


def test_the_same_seed_the_same_scores_another_seed_others(tmp_path: Path) -> None:
    one, same = train(tmp_path / "one"), train(tmp_path / "same")
    assert np.array_equal(one, same)
    assert not np.allclose(one, train(tmp_path / "other", replace(TOY, seed=1)))


def test_accumulated_steps_are_one_large_step(tmp_path: Path) -> None:
    # Clips in any order, labels of one piece and of two: only the sum over all pieces of an update is right.
    exact = Lora(4, 8, dropout=0.0)
    large = replace(TOY, batch_size=8, epochs=2, learning_rate=1e-3)
    whole = train(tmp_path / "whole", large, exact)
    parts = train(tmp_path / "parts", replace(large, batch_size=2, accumulation=4), exact)
    assert np.allclose(whole, parts, atol=1e-4)
    assert not np.allclose(whole[0], whole[1], atol=1e-2)


def test_activation_checkpointing_changes_nothing(tmp_path: Path) -> None:
    training = replace(TOY, epochs=1)
    again = train(tmp_path / "again", replace(training, activation_checkpointing=True))
    assert np.allclose(train(tmp_path / "kept", training), again, atol=1e-5)


def test_a_loss_that_is_not_finite_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^the loss of clip number .* is (nan|inf) at step \d+: use a smaller"):
        train(tmp_path, replace(TOY, learning_rate=1e30, clip=1e30))


def test_the_log_goes_on_over_a_stop(tmp_path: Path) -> None:
    learnt, held_out, _ = toy()
    with adapted(tiny_model(), Lora(4, 8)) as model:
        first = fit(TextTask(model, learnt, held_out, WORDS), TOY, tmp_path, save_steps=10)
    with adapted(tiny_model(), Lora(4, 8)) as model:
        again = fit(TextTask(model, learnt, held_out, WORDS), TOY, tmp_path, save_steps=10)
    assert first.steps == 32
    assert again.steps < 5
    assert again.log == json.loads(json.dumps(first.log))
    assert [math.isfinite(entry["loss"]) for entry in first.log] == [True] * len(first.log)
    assert first.log[-1]["step"] == 32


class Fused(torch.nn.Module):
    """Qwen's c_attn with the adapter that ms-swift gave it: one matrix for queries, keys and values."""

    def __init__(self, attention: Any, scale: float) -> None:
        super().__init__()
        parts = [getattr(attention, f"{name}_proj") for name in "qkv"]
        self.weight = torch.cat([part.base_layer.weight for part in parts]).detach()
        self.bias = torch.cat([part.base_layer.bias for part in parts]).detach()
        self.a = torch.nn.Parameter(parts[0].lora_A["default"].weight.detach().clone())
        self.b = torch.nn.Parameter(torch.cat([part.lora_B["default"].weight for part in parts]).detach().clone())
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight.T + self.bias + self.scale * (x @ self.a.T) @ self.b.T


def tiny_qwen() -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    return Qwen2ForCausalLM(config).eval()


def test_the_adapter_of_c_attn_is_that_of_the_joint_matrix() -> None:
    """Output and gradients of queries, keys and values: those of one LoRA on the fused matrix."""
    model = add_lora(tiny_qwen(), Lora(4, 8, "c_attn", dropout=0.0))
    attention = model.base_model.model.model.layers[1].self_attn
    for part in "qkv":
        torch.nn.init.normal_(getattr(attention, f"{part}_proj").lora_B["default"].weight)
    fused = Fused(attention, scale=8 / 4)
    x, back = torch.randn(3, 5, 16), torch.randn(3, 5, 48)
    ours = torch.cat([getattr(attention, f"{part}_proj")(x) for part in "qkv"], dim=-1)
    torch.testing.assert_close(ours, fused(x), atol=1e-5, rtol=1e-5)
    (ours * back).sum().backward()
    (fused(x) * back).sum().backward()
    torch.testing.assert_close(attention.q_proj.lora_A["default"].weight.grad, fused.a.grad, atol=1e-4, rtol=1e-4)
    grads = [getattr(attention, f"{part}_proj").lora_B["default"].weight.grad for part in "qkv"]
    torch.testing.assert_close(torch.cat(grads), fused.b.grad, atol=1e-4, rtol=1e-4)


def test_separate_adapters_have_half_as_many_parameters_again() -> None:
    counts = {}
    for targets in ("c_attn", "q,k,v"):
        model = add_lora(tiny_qwen(), Lora(4, 8, targets))  # type: ignore[arg-type]
        counts[targets] = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert counts == {"c_attn": 2 * (4 * 16 + 3 * 16 * 4), "q,k,v": 2 * 3 * (4 * 16 + 16 * 4)}


def test_queries_keys_and_values_miss_the_same_numbers() -> None:
    model = add_lora(tiny_qwen(), Lora(4, 8, "c_attn", dropout=0.5)).train()
    dropout = model.base_model.model.model.layers[0].self_attn.k_proj.lora_dropout["default"]
    x = torch.ones(64, 16)
    first, second, third, later = (dropout(x) for _ in range(4))
    assert torch.equal(first, second)
    assert torch.equal(first, third)
    assert not torch.equal(first, later)
    assert set(first.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(dropout.eval()(x), x)


def test_activations_computed_twice_miss_the_same_numbers_again() -> None:
    gradients = []
    for twice in (False, True):
        model = add_lora(tiny_qwen(), Lora(4, 8, "c_attn", dropout=0.5)).train()
        torch.manual_seed(1)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter)
        if twice:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            model.enable_input_require_grads()
        torch.manual_seed(2)
        model(torch.tensor([[1, 2, 3, 4]])).logits.square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-4, rtol=1e-4)


def test_what_was_learnt_of_c_attn_is_kept_and_read_again(tmp_path: Path) -> None:
    model = add_lora(tiny_qwen(), Lora(4, 8, "c_attn"))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter)
    save_file(trained_parameters(model), tmp_path / "trained.safetensors")
    ids = torch.tensor([[1, 2, 3]])
    expected = model.eval()(ids).logits
    again = add_lora(tiny_qwen(), Lora(4, 8, "c_attn")).eval()
    load_trained(again, tmp_path / "trained.safetensors")
    torch.testing.assert_close(again(ids).logits, expected)
