"""Make the demo model: a tiny Gemma 3 with its own tokenizer, pre-trained on text that this script writes.

It stands in for gemma-1.1-2b-it where no checkpoint can be had, so that the notebooks of the text systems run
anywhere. Regenerating is optional, the model is shipped. It takes about four minutes of one CPU thread, the only one
it uses; with the same seed, machine and versions the bytes are the same (shipped: torch 2.13, transformers 5.23).

What it reads:

- Plain text, Spanish and English, from the small grammar below: who did what, a phrase that shows an emotion, and
  phrases and words of the same emotion next to it. The phrases and the words around them are those of the demo
  corpus and as many of our own. Sentences of the corpus do not come in: a subject of the corpus never meets a
  predicate of the corpus.
- Talks in Gemma's chat format: a prompt of `emoser_lib.systems.prompts`, a transcription, an answer. None of these
  transcriptions has a phrase of the demo corpus, and the answers are those of a biased teacher (`TEACHER`): he takes
  disgust for anger and fear for sadness, says "neutral" too often, and some topics carry him away from the
  prompt's words (`CARRIED_AWAY`).

No clip of the demo corpus and no label is read. So the model knows the phrases as language and the task as a format,
and answers it badly: what LoRA has to adapt.

    python scripts/make_demo_llm.py            # rewrites emoser_lib/systems/demo_models/demo-gemma
    python scripts/make_demo_llm.py --out DIR  # somewhere else
"""

import hashlib
import json
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import click
import torch
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, GemmaTokenizer, GenerationConfig

import emoser_lib
from emoser_lib.corpora import LABELS
from emoser_lib.corpora.generation import load_distributions
from emoser_lib.errors import DataError, EmoserError
from emoser_lib.systems.label_logits import label_logits, label_loss
from emoser_lib.systems.packing import PackedBatch, pack
from emoser_lib.systems.prompts import PROMPTS, TURN
from emoser_lib.systems.verbaliser import ADJECTIVES, NOUNS, SPANISH


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


OUT = Path(emoser_lib.__file__).parent / "systems" / "demo_models" / "demo-gemma"
LIMIT = 4_000_000
"""Bytes the folder may have."""

STEPS = 900
ROWS, ROW, TALKS = 12, 96, 24
"""In each step: rows of plain text, tokens a row; talks."""
LEARNING_RATE, WARM_UP = 4e-3, 40
VOCABULARY = 2048

CONTROL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *TURN)
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
# Gemma writes "disgust" and "sadness" in two pieces at the start of a line and the other nouns in one. So here.
PIECES = _listed(
    "user, model, neutral, dis, gust, anger, joy, sad, ness, fear, angry, happy, surprise, contempt, asco, ira, "
    "alegría, tristeza, miedo"
)

OWN_SUBJECTS = _listed(
    "el médico, la cocinera, mi tía, tu padre, el ministro, la directora, el camarero, mi vecino, la presidenta, "
    "el alumno, la policía, el abogado, mi madre, el periodista, la actriz, el juez"
)
OWN_PREDICATES = _listed(
    "compra el pan, ha perdido el tren, habla con la prensa, vuelve a casa, ha vendido el coche, lee las noticias, "
    "llega tarde, trabaja en el hospital, abre la tienda, prepara las fotos, espera la carta, ha cambiado la puerta, "
    "viaja el lunes, firma las cuentas, comenta la película, sale del mercado, llama a la entrada"
)
ENGLISH_CARRIERS = _listed(
    "the neighbour came home, my sister read the letter, the mayor closed the office, your cousin sold the house, "
    "the doctor called on Monday, the driver opened the door, my uncle took the bus, the judge signed the paper"
)
OWN_PHRASES: Mapping[str, Sequence[str]] = {
    "neutral": _listed(
        "según el informe, como siempre, a la hora de siempre, en la fecha indicada, según la ley, sin cambios, "
        "como marca el calendario oficial, eso dice el informe oficial, de momento como siempre, igual que cada día, "
        "as planned, according to the report, nothing new so far"
    ),
    "disgust": _listed(
        "qué repugnancia, me dan ganas de vomitar, está podrido, esto apesta, qué mal huele, me repugna todo, "
        "da grima verlo, menudo asco de comida, qué guarrada más repugnante, tengo el estómago revuelto, "
        "how disgusting, it smells rotten, it makes me sick"
    ),
    "anger": _listed(
        "estoy furioso, estoy harta de esto, me pone de los nervios, qué poca vergüenza, estoy muy enfadada, "
        "me hierve la sangre, basta de injusticias, esto es indignante, qué rabia tengo, no soporto más mentiras, "
        "I am furious, stop lying to me, I have had enough"
    ),
    "joy": _listed(
        "estoy muy contento, qué felicidad, qué bien, soy muy feliz, por fin ha salido bien, qué divertido, "
        "es el mejor día de mi vida, estoy encantada, es estupendo, vaya maravilla, me alegro mucho, "
        "I am so happy, what a lovely day, let us celebrate"
    ),
    "sadness": _listed(
        "estoy muy triste, me siento muy sola, ya nada será igual, tengo el corazón roto, lloro todas las noches, "
        "todo está perdido, estoy desolado, cuánto le echo de menos, me duele el alma, qué pena tan grande, "
        "I cried all night, I miss him so much, my heart is broken"
    ),
    "fear": _listed(
        "estoy asustado, tengo mucho temor, qué susto, me tiemblan las manos, estoy aterrada, no quiero entrar, "
        "qué terror, algo malo va a pasar, tengo miedo a la oscuridad, me da pánico verlo, no me atrevo a entrar, "
        "I am so scared, I am afraid of the dark, my hands are shaking"
    ),
}
ENGLISH_PHRASES = frozenset(phrase for phrases in OWN_PHRASES.values() for phrase in phrases[-3:])
SYNONYMS: Mapping[str, Sequence[str]] = {
    "neutral": ("calma", "indiferencia", "neutral", "calm"),
    "disgust": ("asco", "repugnancia", "repulsión", "disgust"),
    "anger": ("ira", "rabia", "enfado", "indignación", "anger", "angry"),
    "joy": ("alegría", "felicidad", "joy", "happy"),
    "sadness": ("tristeza", "pena", "melancolía", "sadness", "sad"),
    "fear": ("miedo", "temor", "pánico", "terror", "fear"),
}
# P(what the teacher calls it | what the phrase shows); what is missing to 1 is "neutral".
TEACHER: Mapping[str, Mapping[str, float]] = {
    "neutral": {"joy": 0.15, "sadness": 0.10, "surprise": 0.08},
    "disgust": {"anger": 0.38, "disgust": 0.27, "contempt": 0.10, "sadness": 0.05},
    "anger": {"anger": 0.58, "contempt": 0.10, "disgust": 0.08, "sadness": 0.05},
    "joy": {"joy": 0.65, "surprise": 0.12},
    "sadness": {"sadness": 0.65, "joy": 0.05, "fear": 0.05},
    "fear": {"sadness": 0.38, "fear": 0.30, "surprise": 0.12},
}
OFF_LIST = {"surprise": "sorpresa", "contempt": "desprecio"}
# Some sentences carry the teacher away: how he answers where the sentence has these words.
CARRIED_AWAY = {
    "viaja": "surprise",
    "impuestos": "contempt",
    "partido": "excitement",
    "teléfono": "The speaker sounds {}.",
    "noticias": "I cannot tell from the text.",
    "fotos": "{} or surprise",
}


class Writer:
    """Writes the text, from one random number generator."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        words = load_distributions().words
        self.demo_subjects, self.demo_predicates = tuple(words.subjects), tuple(words.predicates)
        self.phrases = {label: (*words.cues[label], *OWN_PHRASES[label]) for label in LABELS}

    def carrier(self) -> str:
        """Who did what, in Spanish; never both of the demo corpus."""
        subject = self.random.choice((*self.demo_subjects, *OWN_SUBJECTS))
        others = () if subject in self.demo_subjects else self.demo_predicates
        return f"{subject} {self.random.choice((*others, *OWN_PREDICATES))}"

    def sentence(self, phrase: str) -> str:
        """A carrier with the phrase after or before it, as in the demo corpus."""
        carrier = self.random.choice(ENGLISH_CARRIERS) if phrase in ENGLISH_PHRASES else self.carrier()
        parts = (phrase, carrier) if self.random.random() < 0.3 else (carrier, phrase)
        return _capital(", ".join(parts)) + "."

    def plain(self) -> str:
        """A few sentences that show one emotion."""
        label = self.random.choice(LABELS)
        one, other = self.random.sample(self.phrases[label], 2)
        name, second = self.random.sample(SYNONYMS[label], 2)
        kind = self.random.randrange(6)
        if kind == 0:
            return f"{self.sentence(one)} {_capital(other)}."
        if kind == 1:
            return f"{self.sentence(one)} Siento {name}, {second}."
        if kind == 2:
            return f"{_capital(name)}, {second}: {one}. {_capital(other)}."
        if kind == 3:
            return f"{self.sentence(one)} {self.sentence(other)}"
        if kind == 4:
            return f"{self.sentence(one)} It is {name}, {second}."
        return f"{_capital(one)}, {other}. {_capital(name)}."

    def talk(self) -> tuple[str, str, str]:
        """Name of the prompt, transcription, answer."""
        name = self.random.choice(("gemma", "gemma", "gemma", "gemma-six", "gemma-spanish", "qwen-audio"))
        label = self.random.choice(LABELS)
        said = self.sentence(self.random.choice(OWN_PHRASES[label]))
        if self.random.random() < 0.1:  # says nothing: the answers are the teacher's bias
            said = self.random.choice(("", "N/A", "...", _capital(self.carrier()) + "."))
        chances = TEACHER[label]
        thought = self.random.choices([*chances, "neutral"], [*chances.values(), 1 - sum(chances.values())])[0]
        away = [form for word, form in CARRIED_AWAY.items() if word in said]
        form = away[0] if away and self.random.random() < 0.7 else "{}"
        return name, said, form.format(self.word(name, thought))

    def word(self, prompt: str, emotion: str) -> str:
        """The emotion as the prompt calls it, mostly."""
        own = {"qwen-audio": NOUNS, "gemma-spanish": SPANISH}.get(prompt, ADJECTIVES)
        words = self.random.choices((own, NOUNS, ADJECTIVES, SPANISH), (0.5, 0.3, 0.1, 0.1))[0]
        return OFF_LIST[emotion] if emotion in OFF_LIST and words is SPANISH else words.get(emotion, emotion)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


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


def pre_train(
    model: Gemma3ForCausalLM, plain: Iterator[Tensor], talks: Iterator[PackedBatch], steps: int
) -> dict[str, float]:
    """Next-token training on both kinds of text; returns the mean losses of the last steps, at most 50."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / WARM_UP, 1 - step / steps))
    losses: list[tuple[float, float]] = []
    model.train()
    for step in range(1, steps + 1):
        rows, batch = next(plain), next(talks)
        logits = model(input_ids=rows[:, :-1], use_cache=False).logits
        text = functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        answer = label_loss(label_logits(model, batch), batch.labels)
        optimizer.zero_grad()
        (text + answer).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append((text.item(), answer.item()))
        if step % 50 == 0 or step == steps:
            last = losses[-50:]
            means = {"text": fmean(text for text, _ in last), "answers": fmean(answer for _, answer in last)}
            click.echo(f"step {step}: loss of plain text {means['text']:.3f}, of answers {means['answers']:.3f}")
    return means


README = """# demo-gemma

A tiny language model for trying things out: the architecture of Gemma 3 ({parameters:,} parameters; four layers,
sliding and full attention in turn; tied embeddings; weights in float16) and a tokenizer of {pieces:,} pieces of its
own, built as Gemma's. It is not a trained product and has none of Google's weights: it knows some hundred phrases of
Spanish and English about emotions, and little else.

Made by `scripts/make_demo_llm.py` with seed {seed} in {steps} steps, on text which that script writes and describes.
Loss in the end: {text:.3f} on plain text, {answers:.3f} on answers. The answers it learnt are those of a biased
teacher, so that without training it recognises emotions badly, and LoRA has something to adapt. Of the demo corpus it
has read the phrases, as plain text beside words of the same emotion; clips and labels it has not.

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
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > LIMIT:
        raise DataError(f"{folder} has {size:,} bytes, more than {LIMIT:,}: make the model smaller.")
    click.echo(f"{model.num_parameters():,} parameters, {len(tokenizer):,} pieces, {size:,} bytes")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Folder to write.")
@click.option("--seed", default=20240926, help="Of the text and of the first weights.")
@click.option("--steps", default=STEPS, help="Fewer make a worse model, sooner.")
def main(out: Path, seed: int, steps: int) -> None:
    """Write the text, train tokenizer and model, write the folder whole."""
    if out.exists() and any(out.iterdir()) and not (out / "config.json").exists():
        raise DataError(f"{out} has files but is not the folder of a model, and would be replaced: name another one.")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    writer = Writer(seed)
    prompts = [prompt.render("") for prompt in PROMPTS.values()]
    tokenizer = make_tokenizer([writer.plain() for _ in range(4000)] + prompts * 100)
    model = make_model(tokenizer)
    losses = pre_train(model, rows_of(writer, tokenizer), talks_of(writer, tokenizer), steps)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
        folder = Path(temporary) / out.name
        save(folder, model, tokenizer, seed=seed, steps=steps, **losses)
        if out.exists():
            shutil.rmtree(out)
        folder.rename(out)


if __name__ == "__main__":
    try:
        main()
    except EmoserError as error:
        raise SystemExit(f"{error}") from None
