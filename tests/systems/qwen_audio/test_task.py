"""Qwen-Audio as a declaration like the others: its own bridge, packed, scored and trained as if written out."""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from emoser_lib.errors import UsageError
from emoser_lib.systems.declared import Lora, Loss, Own
from emoser_lib.systems.hearing.audio_answers import generate_audio_answers
from emoser_lib.systems.hearing.audio_llm import AudioLLM
from emoser_lib.systems.hearing.audio_task import AudioExamples, AudioTask
from emoser_lib.systems.hearing.encoders.encoder import Frames
from emoser_lib.systems.prompts.audio import audio_prompt
from emoser_lib.systems.prompts.text import AUDIO
from emoser_lib.systems.prompts.words import NOUNS
from emoser_lib.systems.qwen_audio import QwenAudio, convert_qwen_audio, load
from emoser_lib.systems.reading.lora import adapted
from emoser_lib.systems.reading.verbaliser import Verbaliser
from emoser_lib.systems.reading.zero_shot import Decoding
from tests import tiny

DRAW = np.random.default_rng(0)
CLIPS = {name: (DRAW.standard_normal(size) * 0.1).astype(np.float32) for name, size in (("a", 9_000), ("b", 20_000))}
SAID = ("hola", "¿y tú? <|im_end|>")


class Kept:
    """Frames by key, as the cache gives them."""

    def __init__(self, qwen: QwenAudio) -> None:
        self.qwen = qwen

    def batch(self, clips: Sequence[str]) -> Frames:
        with torch.no_grad():
            return self.qwen.encoder([CLIPS[clip] for clip in clips])


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> QwenAudio:
    return tiny.qwen(tmp_path_factory.mktemp("qwen"))


def heard(qwen: QwenAudio, learnt: bool = False) -> tuple[AudioExamples, Verbaliser]:
    batch = audio_prompt("qwen-audio").encode(qwen.llm.tokenizer, SAID, "own")
    verbaliser = Verbaliser.build(qwen.llm.tokenizer, NOUNS, after=batch.tail, end=batch.end)
    return AudioExamples(batch.prefix, batch.rests, ["a", "b"], [0, 1], [3, 1] if learnt else ()), verbaliser


def written_out(qwen: QwenAudio, of: AudioExamples, clip: int, word: Sequence[int]) -> torch.Tensor:
    """The log-probability of each piece of the word, by `QwenAudio.logits` on the whole prompt."""
    waveform = CLIPS[of.sounds[clip]]
    ids = []
    for token in (*of.prefix, *of.rests[clip], *word):
        ids += [qwen.placeholder] * qwen.encoder.frames_of(len(waveform)) if token == AUDIO else [token]
    logits = qwen.logits([waveform], torch.tensor([ids]))[0].log_softmax(dim=-1)
    return torch.stack([logits[-len(word) - 1 + place, piece] for place, piece in enumerate(word)])


def test_the_declared_prompt_is_the_chat_of_the_checkpoint(qwen: QwenAudio) -> None:
    of, _ = heard(qwen)
    said = audio_prompt("qwen-audio").template.replace("<transcription>", SAID[0]).removeprefix("Audio 1:<audio>\n")
    asked = qwen.encode_prompt(said, [CLIPS["a"]])[0].tolist()
    places = asked.count(qwen.placeholder)
    ours = [[qwen.placeholder] * places if token == AUDIO else [token] for token in (*of.prefix, *of.rests[0])]
    assert [token for some in ours for token in some] == asked


def test_labels_are_scored_as_written_out(qwen: QwenAudio) -> None:
    of, verbaliser = heard(qwen)
    model = AudioLLM(qwen.language, Own(), qwen.encoder.width)
    task = AudioTask(model, verbaliser.ids, Loss("none"), [], AudioExamples(of.prefix, (), (), ()), of, Kept(qwen))
    expected = torch.stack(
        [torch.stack([written_out(qwen, of, clip, word).sum() for word in verbaliser.ids]) for clip in (0, 1)]
    )
    torch.testing.assert_close(task.scores(), expected.log_softmax(dim=1), atol=1e-4, rtol=1e-4)


def test_the_loss_over_words_is_that_of_a_language_model(qwen: QwenAudio) -> None:
    """The mean over all pieces of the answers and their end tokens, over the whole vocabulary."""
    of, verbaliser = heard(qwen, learnt=True)
    with adapted(qwen.language, Lora(2, 4, "c_attn", dropout=0.0)) as language:
        model = AudioLLM(language, Own(), qwen.encoder.width)
        task = AudioTask(model, verbaliser.ids, Loss("none", over="words"), [1.0] * 6, of, of, Kept(qwen))
        batch = task.batch([0, 1])
        words = [verbaliser.ids[label] for label in of.labels]
        assert task.items(batch) == sum(map(len, words))
        loss = task.loss(batch, task.items(batch))
        loss.backward()
        assert all(p.grad is not None for name, p in language.named_parameters() if "lora_B" in name)
    pieces = torch.cat([written_out(qwen, of, clip, word) for clip, word in enumerate(words)])
    torch.testing.assert_close(loss.detach(), -pieces.mean(), atol=1e-4, rtol=1e-4)


def test_a_loss_over_words_weighs_no_labels() -> None:
    with pytest.raises(UsageError, match="set it to none"):
        Loss("inverse", over="words")


def test_ears_of_another_checkpoint_do_not_fit(qwen: QwenAudio) -> None:
    with pytest.raises(UsageError, match="put a bridge between them"):
        AudioLLM(qwen.language, Own(), 7)


def test_a_checkpoint_without_a_tokenizer_is_no_language_model(tmp_path: Path) -> None:
    convert_qwen_audio(tiny.write_v1(tmp_path / "source"), tmp_path / "dest")
    with pytest.raises(UsageError, match="has no tokenizer"):
        _ = load(tmp_path / "dest", device="cpu").llm


def test_answers_are_those_of_each_clip_alone(qwen: QwenAudio) -> None:
    qwen = copy.deepcopy(qwen)
    with torch.no_grad():  # so that it says words
        qwen.language.lm_head.weight[len(qwen.llm.tokenizer) - 3522 :] = 0.0
    of, verbaliser = heard(qwen)
    model = AudioLLM(qwen.language, Own(), qwen.encoder.width)
    task = AudioTask(model, verbaliser.ids, Loss("none"), [], AudioExamples(of.prefix, (), (), ()), of, Kept(qwen))
    end, decoding = "<|endoftext|>", Decoding(max_new_tokens=5)
    together = generate_audio_answers(task, qwen.llm.tokenizer, end, [0, 1], decoding)
    alone = [generate_audio_answers(task, qwen.llm.tokenizer, end, [clip], decoding)[0] for clip in (0, 1)]
    assert together == alone
    asked = audio_prompt("qwen-audio").template.replace("<transcription>", SAID[0]).removeprefix("Audio 1:<audio>\n")
    assert together[0] == qwen.answer(asked, CLIPS["a"], max_new_tokens=5)
    assert together[0]
