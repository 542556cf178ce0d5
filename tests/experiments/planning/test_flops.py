"""FLOPs of an answer: those of the products by hand, and those that the real demo model takes."""

from pathlib import Path

import pytest
import torch
from emoser_lib.experiments.runs.profiles import plan

from emoser_lib.experiments.planning import flops
from emoser_lib.experiments.planning.memory import BatchShape, packed_forward
from emoser_lib.experiments.planning.meta_models import meta_encoder, meta_model
from emoser_lib.systems.hearing.encoders.loading import load_encoder
from emoser_lib.systems.hearing.encoders.whisper import whisper_layers
from emoser_lib.systems.reading.llm import load_llm


def test_the_meta_model_takes_what_its_matrices_take() -> None:
    model = meta_model("google/gemma-3-270m").requires_grad_(False)
    config, tokens = model.config, 50
    of_layers = sum(p.numel() for name, p in model.named_parameters() if "layers" in name and p.ndim == 2)
    attention = 4 * tokens**2 * config.num_attention_heads * config.head_dim * config.num_hidden_layers
    vocabulary = 2 * config.vocab_size * config.hidden_size  # logits of one token
    counted = flops.counted(packed_forward(model, BatchShape(1, 0, tokens)))
    assert counted == pytest.approx(2 * of_layers * tokens + attention + vocabulary, rel=0.01)


def test_the_real_models_take_what_was_counted_without_numbers() -> None:
    llm, encoder = load_llm("emoser/demo-gemma").model, load_encoder("emoser/demo-whisper")
    mel = torch.zeros(1, encoder.model.config.num_mel_bins, 2 * encoder.frames_of(16_000))  # type: ignore[union-attr]
    # torch's counter knows no fused attention on CPUs.
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        read, heard = (
            flops.counted(packed_forward(llm, BatchShape(1, 0, 40))),
            flops.counted(lambda: whisper_layers(encoder.model, mel)),
        )
    assert read == flops.counted(
        packed_forward(meta_model("emoser/demo-gemma").requires_grad_(False), BatchShape(1, 0, 40))
    )
    assert heard == flops.encoder_flops(meta_encoder("emoser/demo-whisper"), encoder.frames_of(16_000))


def test_every_system_of_a_run_has_its_costs(root: Path) -> None:
    def of(notebook: str, profile: str, run: str) -> dict[str, int | None]:
        return flops.answering_flops(plan(root / "notebooks" / f"{notebook}.ipynb", profile, run)[0])

    reads, hears = of("05-gemma-lora", "small", "test"), of("08-whisper-gemma", "small", "speaker")
    assert list(reads) == [""]
    assert min(hears.values()) > reads[""] > 1e9  # type: ignore[operator,type-var]
    window, clip = hears["published, batch 4"], of("08-whisper-gemma", "small", "clip")["published, batch 4"]
    assert window > clip, "thirty seconds cost more than the clip"  # type: ignore[operator]
    emosllm = of("10-emosllm", "small", "speaker")
    assert emosllm["as it is"] > emosllm["without transcription"]  # type: ignore[operator]
    assert emosllm["as it is"] > 3 * window, "each window of a clip is heard and read"  # type: ignore[operator]
    assert of("07-qwen-audio-lora", "demo", "demo")[""] > 1e8  # type: ignore[operator]
