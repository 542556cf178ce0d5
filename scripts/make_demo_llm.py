"""Make the demo model: a tiny Gemma 3 with its own tokenizer, pre-trained on text that this script writes.

It stands in for gemma-1.1-2b-it where no checkpoint can be had, so that the notebooks of the text systems run
anywhere. Regenerating is optional, the model is shipped. It takes about four minutes of one CPU thread, the only one
it uses; with the same seed, machine and versions the bytes are the same (shipped: torch 2.13, transformers 5.23).

What it reads:

- Plain text, Spanish and English, from the small grammar below: who did what, a phrase that shows an emotion, and
  phrases and words of the same emotion next to it. The phrases and the words around them are those of the demo
  corpus and as many of our own. Sentences of the corpus do not come in: a subject of the corpus never meets a
  predicate of the corpus.
- Talks in Gemma's chat format: a prompt of `emoser_lib.systems.prompts.text`, a transcription, an answer. None of these
  transcriptions has a phrase of the demo corpus, and the answers are those of a biased teacher (`TEACHER`): he takes
  disgust for anger and fear for sadness, says "neutral" too often, and some topics carry him away from the
  prompt's words (`CARRIED_AWAY`).

- Talks about a voice: a prompt of `emoser_lib.systems.prompts.audio`, a transcription, and in the audio's place words
  that say how someone speaks (high, loud, breathy, …), again and again as frames would. Label, phrase and voice are
  drawn as the corpus's distributions say, and the answer is the label. So the model knows which voice goes with which
  emotion, as large models do from what they read; what it cannot is hear, which a bridge has to teach it.

No clip of the demo corpus and no label of one is read. So the model knows the phrases as language and the tasks as
formats, and answers those without a voice badly: what LoRA has to adapt.

    python scripts/make_demo_llm.py            # rewrites emoser_lib/systems/checkpoints/demo_models/demo-gemma
    python scripts/make_demo_llm.py --out DIR  # somewhere else
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

import click
import torch
from demo_folder import refuse_large, refuse_other, replaced
from demo_text import HEARD_PROMPTS, QUALITY_WORDS, VOICE, Writer, listed
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, GemmaTokenizer, GenerationConfig

import emoser_lib
from emoser_lib.errors import EmoserError
from emoser_lib.systems.prompts.audio import AUDIO_PROMPTS
from emoser_lib.systems.prompts.text import AUDIO, PROMPTS, TURN
from emoser_lib.systems.prompts.words import ADJECTIVES
from emoser_lib.systems.reading.label_logits import label_logits, label_loss
from emoser_lib.systems.reading.packing import PackedBatch, pack

OUT = Path(emoser_lib.__file__).parent / "systems" / "checkpoints" / "demo_models" / "demo-gemma"
LIMIT = 4_000_000
"""Bytes the folder may have."""

STEPS = 1500
ROWS, ROW, TALKS = 12, 96, 24
"""In each step: rows of plain text, tokens a row; talks."""
LEARNING_RATE, WARM_UP = 4e-3, 40
VOCABULARY = 2048

CONTROL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *TURN)
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
# Gemma writes "disgust" and "sadness" in two pieces at the start of a line and the other nouns in one. So here.
PIECES = listed(
    "user, model, neutral, dis, gust, anger, joy, sad, ness, fear, angry, happy, surprise, contempt, asco, ira, "
    "alegría, tristeza, miedo"
)


def make_tokenizer(texts: Sequence[str]) -> GemmaTokenizer:
    """Byte-pair pieces of the texts, in Gemma's tokenizer: spaces as ▁, unknown characters as bytes."""
    trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split(Regex(r"▁?\p{L}+|\n|▁?[^▁\p{L}\n]"), "isolated")
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=[*CONTROL, *BYTES], show_progress=False)
    trained.train_from_iterator([*texts, *("\n".join(PIECES),) * len(texts)], trainer)
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    tokenizer = GemmaTokenizer(vocab=model["vocab"], merges=merges, add_bos_token=True)
    tokenizer.add_tokens([AddedToken(turn, special=True, normalized=False) for turn in TURN], special_tokens=True)
    return tokenizer


def make_model(tokenizer: GemmaTokenizer) -> Gemma3ForCausalLM:
    """Gemma 3 with random weights: sliding and full attention in turn, tied embeddings."""
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=32,
        query_pre_attn_scalar=32,
        layer_types=["sliding_attention", "full_attention"] * 2,
        sliding_window=32,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return Gemma3ForCausalLM(config)


def rows_of(writer: Writer, tokenizer: GemmaTokenizer) -> Iterator[Tensor]:
    """Plain texts one after the other, cut into [ROWS, ROW] ids."""
    ids: list[int] = []
    while True:
        while len(ids) < ROWS * ROW:
            for text in tokenizer([writer.plain() for _ in range(64)])["input_ids"]:
                ids += [*text, tokenizer.eos_token_id]
        yield torch.tensor(ids[: ROWS * ROW]).view(ROWS, ROW)
        ids = ids[ROWS * ROW :]


def talks_of(writer: Writer, tokenizer: GemmaTokenizer) -> Iterator[PackedBatch]:
    """Talks, TALKS to a batch, all of one prompt, with the end of the turn to be learnt."""
    waiting: dict[str, list[tuple[str, str]]] = {name: [] for name in PROMPTS}
    end = tokenizer.convert_tokens_to_ids(TURN[1])
    while True:
        name, said, answer = writer.talk()
        waiting[name].append((said, answer))
        if len(waiting[name]) == TALKS:
            saids, answers = zip(*waiting.pop(name), strict=True)
            waiting[name] = []
            prompts = PROMPTS[name].encode(tokenizer, saids)
            targets = [[*ids, end] for ids in tokenizer(list(answers), add_special_tokens=False)["input_ids"]]
            yield pack(prompts.prefix, prompts.rests, targets)


def heard_of(writer: Writer, tokenizer: GemmaTokenizer) -> Iterator[PackedBatch]:
    """Talks about a voice, TALKS to a batch, all of one prompt; the voice's words stand where frames will."""
    waiting: dict[str, list[tuple[str, str, str]]] = {name: [] for name in HEARD_PROMPTS}
    while True:
        name, *talk = writer.heard()
        waiting[name].append((talk[0], talk[1], talk[2]))
        if len(waiting[name]) == TALKS:
            saids, voices, answers = zip(*waiting.pop(name), strict=True)
            waiting[name] = []
            prompts = AUDIO_PROMPTS[name].encode(tokenizer, saids, chat="plain")
            heard = tokenizer([f" {voice}" for voice in voices], add_special_tokens=False)["input_ids"]
            rests = [_in_place(rest, words) for rest, words in zip(prompts.rests, heard, strict=True)]
            leading = [prompts.leading + answer for answer in answers]
            yield pack(prompts.prefix, rests, tokenizer(leading, add_special_tokens=False)["input_ids"])


def _in_place(rest: Sequence[int], words: Sequence[int]) -> list[int]:
    place = list(rest).index(AUDIO)
    return [*rest[:place], *words, *rest[place + 1 :]]


def pre_train(
    model: Gemma3ForCausalLM,
    plain: Iterator[Tensor],
    talks: Iterator[PackedBatch],
    heard: Iterator[PackedBatch],
    steps: int,
) -> dict[str, float]:
    """Next-token training on all kinds of text; returns the mean losses of the last steps, at most 50."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / WARM_UP, 1 - step / steps))
    losses: list[tuple[float, float, float]] = []
    model.train()
    for step in range(1, steps + 1):
        rows, batch, voices = next(plain), next(talks), next(heard)
        logits = model(input_ids=rows[:, :-1], use_cache=False).logits
        text = functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        answer = label_loss(label_logits(model, batch), batch.labels)
        voice = label_loss(label_logits(model, voices), voices.labels)
        optimizer.zero_grad()
        (text + answer + voice).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append((text.item(), answer.item(), voice.item()))
        if step % 50 == 0 or step == steps:
            kinds = zip(*losses[-50:], strict=True)
            means = dict(zip(("text", "answers", "voices"), map(fmean, kinds), strict=True))
            click.echo(
                f"step {step}: loss of plain text {means['text']:.3f}, of answers {means['answers']:.3f}, of answers "
                f"about a voice {means['voices']:.3f}"
            )
    return means


README = """# demo-gemma

A tiny language model for trying things out: the architecture of Gemma 3 ({parameters:,} parameters; four layers,
sliding and full attention in turn; tied embeddings; weights in float16) and a tokenizer of {pieces:,} pieces of its
own, built as Gemma's. It is not a trained product and has none of Google's weights: it knows some hundred phrases of
Spanish and English about emotions, and little else.

Made by `scripts/make_demo_llm.py` with seed {seed} in {steps} steps, on text which that script writes and describes.
Loss in the end: {text:.3f} on plain text, {answers:.3f} on answers, {voices:.3f} on answers about a voice. The answers
to a transcription alone are those of a biased teacher, so that without training it recognises emotions badly, and LoRA
has something to adapt. Which voice goes with which emotion it has read in words: a bridge has to teach it to hear. Of
the demo corpus it has read the phrases, as plain text beside words of the same emotion; clips and labels it has not.

Licence: MIT, as the rest of the project.

sha256 of model.safetensors: {sha256}
"""


def save(folder: Path, model: Gemma3ForCausalLM, tokenizer: GemmaTokenizer, **facts: object) -> None:
    """Write the model's files; transformers must be able to load the folder alone."""
    turn = tokenizer.convert_tokens_to_ids(TURN[1])
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=[tokenizer.eos_token_id, turn],
        pad_token_id=tokenizer.pad_token_id,
    )
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # written for its owner only
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    text = README.format(parameters=model.num_parameters(), pieces=len(tokenizer), sha256=digest, **facts)
    (folder / "README.md").write_text(text, encoding="utf-8")
    size = refuse_large(folder, LIMIT)
    click.echo(f"{model.num_parameters():,} parameters, {len(tokenizer):,} pieces, {size:,} bytes")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Folder to write.")
@click.option("--seed", default=20240926, help="Of the text and of the first weights.")
@click.option("--steps", default=STEPS, help="Fewer make a worse model, sooner.")
def main(out: Path, seed: int, steps: int) -> None:
    """Write the text, train tokenizer and model, write the folder whole."""
    refuse_other(out)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    writer = Writer(seed)
    heard_prompts = [AUDIO_PROMPTS[name] for name in HEARD_PROMPTS]
    prompts = [prompt.render("") for prompt in (*PROMPTS.values(), *heard_prompts)]
    voices = " ".join([*QUALITY_WORDS.values(), *(str(word) for two in VOICE.values() for word in two[:2])])
    answers = "".join(f"\nemotion = {word}" for word in ADJECTIVES.values())
    tokenizer = make_tokenizer([writer.plain() for _ in range(4000)] + [*prompts, " " + voices, answers] * 100)
    model = make_model(tokenizer)
    heard = heard_of(Writer(seed + 1), tokenizer)
    losses = pre_train(model, rows_of(writer, tokenizer), talks_of(writer, tokenizer), heard, steps)
    with replaced(out) as folder:
        save(folder, model, tokenizer, seed=seed, steps=steps, **losses)


if __name__ == "__main__":
    try:
        main()
    except EmoserError as error:
        raise SystemExit(f"{error}") from None
