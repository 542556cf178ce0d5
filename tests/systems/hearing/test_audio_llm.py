"""A language model that hears: packed and cached as if written out clip by clip; the loss; what is trained."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    WhisperConfig,
    WhisperFeatureExtractor,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from emoser_lib.errors import UsageError
from emoser_lib.systems.declared import Bridge, Linear, Lora, Loss, Queries
from emoser_lib.systems.hearing.assembly import add_encoder_lora
from emoser_lib.systems.hearing.audio_llm import AudioLLM
from emoser_lib.systems.hearing.audio_task import AudioExamples, AudioTask
from emoser_lib.systems.hearing.bridges import places
from emoser_lib.systems.hearing.encoders.encoder import Frames
from emoser_lib.systems.hearing.encoders.whisper import WhisperFrames
from emoser_lib.systems.prompts.text import AUDIO
from emoser_lib.systems.reading import label_logits
from emoser_lib.systems.reading.packing import PackedBatch, PlainBatch
from tests import tiny


def written_out(made: AudioTask, learnt: AudioExamples) -> Tensor:
    """Scores of each clip alone, one whole sequence of embeddings for each label, by transformers' own forward."""
    rows = []
    for rest, key in zip(learnt.rests, learnt.sounds, strict=True):
        frames = made.features.batch([key])  # type: ignore[union-attr]
        sound, _ = made.model.joined(frames)
        embed = made.model.llm.get_input_embeddings()
        at = list(rest).index(AUDIO)
        before = embed(torch.tensor([*learnt.prefix, *rest[:at]], dtype=torch.long))
        scores = []
        for word in tiny.WORDS:
            after = embed(torch.tensor([*rest[at + 1 :], *word[:-1]]))
            whole = torch.cat([before, sound[0] * made.model.scale, after])[None]
            logits = made.model.llm(inputs_embeds=whole, use_cache=False).logits[0].log_softmax(dim=-1)
            scores.append(sum(logits[-len(word) + i, piece] for i, piece in enumerate(word)))
        rows.append(torch.stack(scores))  # type: ignore[arg-type]
    return torch.stack(rows).log_softmax(dim=1)


@pytest.mark.parametrize("bridge", [Linear(), Linear(stack=4), Queries(3, 1, 2, 16, 16, 0.0)], ids=str)
@pytest.mark.parametrize("name", tiny.LLMS)
@pytest.mark.parametrize("kind", [PackedBatch, PlainBatch])
@pytest.mark.filterwarnings("ignore:.*plain right-padded batches:UserWarning")
def test_packed_with_a_cached_prefix_or_in_rows_is_as_written_out_clip_by_clip(
    kind: type, name: str, bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In rows, where a model cannot take packed batches."""
    if kind is PlainBatch:
        monkeypatch.setattr(label_logits, "packing_refusal", lambda model: "it is told not to")
    learnt = tiny.examples()
    made = tiny.task(tiny.llm(name), bridge, learnt)
    expected = written_out(made, learnt)
    torch.testing.assert_close(made.scores(), expected.detach(), atol=2e-5, rtol=1e-4)
    labels, weights = torch.tensor(learnt.labels), torch.tensor([1.0, 2.0, 5.0])
    loss = torch.nn.functional.nll_loss(expected, labels, weight=weights)
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in made.model.joined.named_parameters() if p.grad is not None}
    made.model.zero_grad()
    batch = made.batch(range(4))
    assert isinstance(batch.prompt, kind)
    ours = made.loss(batch, made.items(batch))
    ours.backward()
    torch.testing.assert_close(ours, loss, atol=1e-5, rtol=1e-5)
    assert gradients
    for key, parameter in made.model.joined.named_parameters():
        assert parameter.grad is not None
        # A gradient that is nothing but rounding (a bias before a softmax) has no norm to compare with.
        scale = max(float(gradients[key].norm()), 1e-4)
        assert float((parameter.grad - gradients[key]).norm()) / scale < 1e-4, key


@pytest.mark.parametrize("name", tiny.LLMS)
def test_labels_of_one_piece_take_their_own_rows_of_the_vocabulary(name: str) -> None:
    """What the whole vocabulary sums up to is the same for them all, and gone where they are normalised."""
    made = tiny.task(tiny.llm(name), Linear(), tiny.examples())
    made.words = [[7], [10], [9]]
    batch = made.batch(range(4))
    prompt, sound = batch.prompt, made.model.heard(batch.sound)
    rows = made.model._logits(prompt, sound, made._states()).log_softmax(dim=-1)
    expected = rows[:, [7, 10, 9]].log_softmax(dim=1)
    shapes: list[torch.Size] = []
    head: Any = made.model.llm.get_output_embeddings()
    head.register_forward_hook(lambda module, given, output: shapes.append(output.shape))
    torch.testing.assert_close(made.model(batch, made._states()), expected, atol=1e-5, rtol=1e-5)
    assert shapes[0][-1] == 3


def test_audio_before_the_text_shares_no_prefix_and_scores_the_same() -> None:
    learnt = AudioExamples([], [[AUDIO, 20, 21], [AUDIO, 20, 30, 31]], ["0", "1"], [0, 1], [0, 2])
    made = tiny.task(tiny.llm("llama"), Linear(), learnt)
    torch.testing.assert_close(made.scores(), written_out(made, learnt).detach(), atol=2e-5, rtol=1e-4)


def test_a_clip_does_not_hear_another_one_of_its_batch() -> None:
    made = tiny.task(tiny.llm("gemma3"), Linear(), tiny.examples())
    before = made.scores()
    made.features.frames["2"] += 1.0  # type: ignore[union-attr]
    after = made.scores()
    others = [0, 1, 3]
    torch.testing.assert_close(after[others], before[others], atol=1e-5, rtol=1e-5)
    assert (after[2] - before[2]).abs().max() > 1e-3


def test_windows_of_a_clip_are_averaged_as_probabilities() -> None:
    learnt = tiny.examples()
    windows = AudioExamples(tiny.PREFIX, learnt.rests, learnt.sounds, [0, 1, 0, 1])
    made = tiny.task(tiny.llm("gemma"), Linear(), learnt, windows)
    each = tiny.task(tiny.llm("gemma"), Linear(), learnt).scores().exp()
    expected = torch.stack([(each[0] + each[2]) / 2, (each[1] + each[3]) / 2])
    torch.testing.assert_close(made.scores().exp(), expected, atol=1e-5, rtol=1e-5)


def test_the_loss_is_torchs_weighted_cross_entropy() -> None:
    labels = ["a"] * 6 + ["b"] * 3 + ["c"]
    order = ["a", "b", "c"]
    assert Loss("inverse").of(labels, order) == pytest.approx([10 / 6, 10 / 3, 10])
    assert Loss("sqrt").of(labels, order) == pytest.approx([(10 / 6) ** 0.5, (10 / 3) ** 0.5, 10**0.5])
    normalised = Loss("normalised").of(labels, order)
    assert np.mean([normalised[order.index(label)] for label in labels]) == pytest.approx(1)
    assert Loss("none").of(labels, order) == [1, 1, 1]
    assert Loss("inverse").of(labels, [*order, "never"])[3] == 0


def losses(loss: Loss, weights: Sequence[float]) -> float:
    made = tiny.task(tiny.llm("gemma"), Linear(), tiny.examples(), loss=loss, weights=weights)
    batch = made.batch([0, 1, 2, 3])
    return float(made.loss(batch, made.items(batch)).detach())


def test_a_common_factor_of_the_weights_is_gone_where_the_batch_is_divided_by_them() -> None:
    weights = [1.0, 2.0, 5.0]
    thrice = [3 * weight for weight in weights]
    by_weights, by_clips = Loss(mean="weights"), Loss(mean="clips")
    assert losses(by_weights, thrice) == pytest.approx(losses(by_weights, weights), rel=1e-5)
    assert losses(by_clips, thrice) == pytest.approx(3 * losses(by_clips, weights), rel=1e-5)


def test_batches_of_an_update_make_the_loss_of_all_their_clips() -> None:
    made = tiny.task(tiny.llm("gemma"), Linear(), tiny.examples())
    whole = made.batch([0, 1, 2, 3])
    parts = [made.batch([0, 1]), made.batch([2, 3])]
    items = sum(made.items(part) for part in parts)
    assert items == pytest.approx(made.items(whole))
    summed = sum(float(made.loss(part, items).detach()) for part in parts)
    assert summed == pytest.approx(float(made.loss(whole, items).detach()), rel=1e-5)


def test_the_auxiliary_task_adds_its_loss_where_something_is_said() -> None:
    spoken = ([21, 22, 23], [], [24], [25, 26])
    quiet = tiny.task(tiny.llm("llama"), Linear(), tiny.examples())
    learnt = tiny.examples(spoken=spoken)
    speaking = tiny.task(tiny.llm("llama"), Linear(), learnt, speech=[2, AUDIO, 13], speech_weight=0.5)
    batch = speaking.batch([0, 1, 2, 3])
    assert batch.spoken is not None and batch.spoken.tolist() == [0, 2, 3]
    _, speech = speaking.model.losses(batch, speaking._states())
    plain, both = (float(of.loss(of.batch([0, 1, 2, 3]), 4.0).detach()) for of in (quiet, speaking))
    share = speaking.items(batch) / 4.0
    assert speech is not None and both == pytest.approx(plain + 0.5 * float(speech.detach()) * share, rel=1e-5)
    # By hand: the mean over the pieces of what transformers says of each clip alone.
    total, pieces = 0.0, 0
    for clip in (0, 2, 3):
        sound, _ = speaking.model.joined(speaking.features.batch([str(clip)]))  # type: ignore[union-attr]
        embed = speaking.model.llm.get_input_embeddings()
        words = list(spoken[clip])
        whole = torch.cat([embed(torch.tensor([2])), sound[0], embed(torch.tensor([13, *words[:-1]]))])[None]
        logits = speaking.model.llm(inputs_embeds=whole, use_cache=False).logits[0, -len(words) :]
        total += torch.nn.functional.cross_entropy(logits, torch.tensor(words), reduction="sum").item()
        pieces += len(words)
    assert float(speech.detach()) == pytest.approx(total / pieces, rel=1e-4)


def live(train: bool) -> tuple[AudioTask, WhisperFrames]:
    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=tiny.WIDTH, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=16, num_mel_bins=8
    )
    encoder = WhisperFrames(WhisperEncoder(config), WhisperFeatureExtractor(feature_size=8)).eval()
    encoder.name = "tiny"
    draw = np.random.default_rng(0)
    sounds = {str(i): draw.normal(0, 0.1, 1600 * (i + 1)).astype(np.float32) for i in range(4)}
    torch.manual_seed(1)
    model = AudioLLM(tiny.llm("gemma"), Linear(), tiny.WIDTH, encoder=encoder.requires_grad_(train))
    learnt = tiny.examples()
    made = AudioTask(model, tiny.WORDS, Loss(), [1.0, 1.0, 1.0], learnt, learnt, waveform=lambda key: sounds[key])
    return made, encoder


def test_an_encoder_that_runs_at_each_step_is_trained_only_if_asked_for() -> None:
    for train in (False, True):
        made, encoder = live(train)
        made.model.train()
        assert encoder.training == train
        batch = made.batch([0, 1, 2])
        made.loss(batch, made.items(batch)).backward()
        got = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in encoder.model.layers.parameters()]
        assert all(got) if train else not any(got)


def test_of_an_encoder_with_an_adapter_only_the_adapter_is_trained() -> None:
    made, encoder = live(False)
    whole = sum(p.numel() for p in encoder.parameters())
    before = made.scores()
    add_encoder_lora(encoder, Lora(2, 4, "all-linear", dropout=0.0))
    torch.testing.assert_close(made.scores(), before)
    model = AudioLLM(made.model.llm, Linear(), tiny.WIDTH, encoder=encoder).train()  # type: ignore[arg-type]
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert {name.split(".")[0] for name in trained} == {"encoder", "joined"}
    assert all("lora_" in name for name in trained if name.startswith("encoder"))
    assert sum(name.startswith("encoder") for name in trained) == 2 * 6, "A and B of q, k, v, out, fc1 and fc2"
    assert whole > sum(p.numel() for name, p in model.named_parameters() if name in trained)
    made.model = model
    batch = made.batch([0, 1, 2])
    made.loss(batch, made.items(batch)).backward()
    assert all(p.grad is not None for p in model.encoder.parameters() if p.requires_grad)  # type: ignore[union-attr]


def test_frames_from_the_cache_give_what_the_encoder_gives_at_each_step() -> None:
    made, encoder = live(False)

    class Cached:
        def batch(self, clips: Sequence[str]) -> Frames:
            assert made.waveform is not None
            return encoder([made.waveform(clip) for clip in clips])

    features: Any = Cached()
    torch.testing.assert_close(AudioTask.scores(_with(made, features)), made.scores(), atol=1e-5, rtol=1e-5)


def _with(made: AudioTask, features: Any) -> AudioTask:
    other = object.__new__(AudioTask)
    other.__dict__.update(made.__dict__, features=features)
    return other


def test_places_say_how_long_the_prompt_gets() -> None:
    for bridge in (Linear(), Linear(stack=4), Linear(pool=3), Queries(7)):
        made = tiny.task(tiny.llm("llama"), bridge, tiny.examples()) if not isinstance(bridge, Queries) else None
        if made is not None:
            ids = made.batch([0, 1, 2, 3]).prompt.input_ids
            assert int((ids == AUDIO).sum()) == sum(places(bridge, length) for length in (9, 3, 14, 1))


def test_a_prompt_without_a_place_for_the_audio_is_refused() -> None:
    silent = AudioExamples(tiny.PREFIX, [[11, 12]], ["0"], [0], [0])
    with pytest.raises(UsageError, match="not exactly one place for the audio"):
        tiny.task(tiny.llm("gemma"), Linear(), silent)
