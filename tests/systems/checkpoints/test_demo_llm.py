"""The shipped demo model is small, loads with transformers alone, and leaves LoRA something to adapt."""

import hashlib
import importlib
import json
from collections import Counter

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from transformers import AutoModelForCausalLM, AutoTokenizer

from emoser_lib.corpora import LABELS, load_corpus
from emoser_lib.corpora.generation import load_distributions
from emoser_lib.errors import DataError
from emoser_lib.systems.checkpoints.folders import DEMO_LLM_FOLDER
from emoser_lib.systems.declared import Lora, Training
from emoser_lib.systems.fitting import fit
from emoser_lib.systems.prompts.text import PROMPTS, chat_of
from emoser_lib.systems.prompts.words import ADJECTIVES, NOUNS, WORDS
from emoser_lib.systems.reading.answers import parse_answer
from emoser_lib.systems.reading.label_logits import packing_refusal
from emoser_lib.systems.reading.lora import adapted
from emoser_lib.systems.reading.prefix_cache import PrefixCache
from emoser_lib.systems.reading.text_task import TextExamples, TextTask
from emoser_lib.systems.reading.verbaliser import Verbaliser

# Characters that Gemma's tokenizers cannot give back either: surrogates, and ▁, which is their space.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), max_size=60)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(DEMO_LLM_FOLDER, local_files_only=True)


@pytest.fixture(scope="module")
def model():
    loaded = AutoModelForCausalLM.from_pretrained(
        DEMO_LLM_FOLDER, dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    return loaded.eval()


@pytest.fixture(scope="module")
def corpus():
    return load_corpus("demo")


@pytest.fixture(scope="module")
def script(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root / "scripts"))  # its text is in a module beside it
        return importlib.import_module("make_demo_llm")


@pytest.fixture
def torch_settings():
    """The script sets these for its process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def macro_f1(corpus, predicted):
    gold = corpus.gold_labels()
    return f1_score(gold, predicted, average="macro", labels=list(LABELS), zero_division=0)


def test_folder_is_small_and_whole_and_the_readme_names_its_bytes():
    files = {path.name: path for path in DEMO_LLM_FOLDER.iterdir()}
    assert sum(path.stat().st_size for path in files.values()) <= 4_000_000
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "README.md"} <= set(files)
    digest = hashlib.sha256(files["model.safetensors"].read_bytes()).hexdigest()
    readme = files["README.md"].read_text(encoding="utf-8")
    assert f"sha256 of model.safetensors: {digest}" in readme
    assert "MIT" in readme


def test_is_gemma_3_with_windows_and_takes_packed_batches(model):
    config = json.loads((DEMO_LLM_FOLDER / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["Gemma3ForCausalLM"]
    assert "auto_map" not in config
    assert set(config["layer_types"]) == {"sliding_attention", "full_attention"}
    assert packing_refusal(model) is None
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_windows_are_shorter_than_a_prompt(model, tokenizer, corpus):
    prompts = PROMPTS["gemma"].encode(tokenizer, list(corpus.test().transcription))
    assert model.config.sliding_window < len(prompts.prefix)
    assert 40 <= len(prompts.prefix) <= 70
    assert max(map(len, prompts.rests)) <= 40


def test_tokenizer_is_used_as_gemmas(tokenizer):
    assert chat_of(tokenizer) == "gemma"
    assert tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    assert "\n".join(tokenizer.tokenize("disgust\nsadness\nanger")) == "dis\ngust\n\n\nsad\nness\n\n\nanger"


@given(text=TEXT)
def test_texts_come_back_as_they_were(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_transcriptions_need_few_pieces(tokenizer, corpus):
    lengths = [len(tokenizer.tokenize(text)) for text in corpus.frame.transcription]
    words = [len(text.split()) for text in corpus.frame.transcription]
    assert np.mean(lengths) < 1.6 * np.mean(words)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_all_word_sets_can_be_scored(tokenizer, prompt, words):
    prompts = PROMPTS[prompt].encode(tokenizer, ["Hola."])
    for end in ("", prompts.end):
        Verbaliser.build(tokenizer, WORDS[words], after=prompts.tail, end=end)


@pytest.mark.parametrize("words", [NOUNS, ADJECTIVES])
def test_zero_shot_is_better_than_a_guess_and_far_from_good(model, tokenizer, corpus, words):
    prompts = PROMPTS["gemma"].encode(tokenizer, list(corpus.test().transcription))
    verbaliser = Verbaliser.build(tokenizer, words, after=prompts.tail, end=prompts.end)
    scores = PrefixCache(model, prompts.prefix).log_probabilities(prompts.rests, verbaliser.ids)
    assert scores.isfinite().all()
    assert (scores.std(dim=0) > 0.01).all()
    assert 0.15 < macro_f1(corpus, [LABELS[best] for best in scores.argmax(dim=1)]) < 0.5


def test_answers_are_mostly_one_word_and_not_always(model, tokenizer, corpus):
    prompts = PROMPTS["gemma"].encode(tokenizer, list(corpus.test().transcription))
    kinds = Counter()
    for rest in prompts.rests:
        ids = torch.tensor([prompts.prefix + rest])
        written = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        text = tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
        kinds[parse_answer(text, mode="lenient").kind] += 1
    assert kinds["exact"] > 50
    assert {"exact", "extracted", "foreign", "missing"} <= set(kinds)


@pytest.mark.slow
def test_lora_beats_zero_shot_clearly(tokenizer, corpus, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(DEMO_LLM_FOLDER, dtype=torch.float32, local_files_only=True)
    train, test = corpus.training(), corpus.test()
    batch = PROMPTS["gemma"].encode(tokenizer, [*train.transcription, *test.transcription])
    verbaliser = Verbaliser.build(tokenizer, NOUNS, after=batch.tail)
    ids = dict(zip(verbaliser.labels, verbaliser.ids, strict=True))
    learn = TextExamples(batch.prefix, batch.rests[: len(train)], [ids[label] for label in train.label])
    held_out = TextExamples(batch.prefix, batch.rests[len(train) :])
    training = Training(epochs=3, batch_size=16, learning_rate=5e-3)
    with adapted(model, Lora(rank=16, alpha=32)) as with_adapter:
        trained = fit(TextTask(with_adapter, learn, held_out, verbaliser.ids), training, tmp_path)
    assert macro_f1(corpus, [LABELS[best] for best in trained.scores[-1].argmax(axis=1)]) > 0.65


def test_script_reads_no_sentence_of_the_demo_corpus(script, corpus):
    writer = script.Writer(0)
    plain = [writer.plain() for _ in range(3000)]
    talks = [said for _, said, _ in (writer.talk() for _ in range(3000))]
    carriers = {
        f"{subject} {predicate}"
        for subject in load_distributions().words.subjects
        for predicate in load_distributions().words.predicates
    }
    assert not [text for text in plain + talks if any(carrier in text.lower() for carrier in carriers)]
    phrases = {phrase for some in load_distributions().words.cues.values() for phrase in some}
    assert not [said for said in talks if any(phrase in said.lower() for phrase in phrases)]


def test_script_replaces_no_folder_but_a_models(script, tmp_path):
    (tmp_path / "thesis.txt").touch()
    done = CliRunner().invoke(script.main, ["--out", str(tmp_path)])
    assert isinstance(done.exception, DataError)
    assert "name another one" in str(done.exception)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("torch_settings")
def test_script_writes_a_folder_whole_and_the_same_each_time(script, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").touch()
        (tmp_path / name / "left-over.txt").touch()
        done = CliRunner().invoke(script.main, ["--out", str(tmp_path / name), "--steps", "2"])
        assert done.exit_code == 0, done.output
        assert "step 2: loss of plain text" in done.output
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    assert "left-over.txt" not in one
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    tokenizer = (DEMO_LLM_FOLDER / "tokenizer.json").read_bytes()
    assert one["tokenizer.json"] == tokenizer, "the script has changed since the model was made: run it again"
