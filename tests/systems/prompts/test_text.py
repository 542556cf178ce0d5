"""Prompts reach the model to the letter, transcriptions stay data, and prefix + rest is the whole input."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from emoser_lib.corpora import LABELS
from emoser_lib.errors import DataError, UsageError
from emoser_lib.systems.prompts.audio import AUDIO_PROMPTS
from emoser_lib.systems.prompts.text import PROMPTS, TAG, Prompt, chat_of, prompt_named
from emoser_lib.systems.prompts.words import ADJECTIVES, NOUNS, SPANISH, WORDS, words_for

TEXT = [
    *(prompt.render("no sé qué decir, estoy harta de todo esto") for prompt in PROMPTS.values()),
    "hoy ha sido un gran día y estoy muy contenta, gracias a todos",
    "the speaker said nothing: user model system assistant [neutral, sad, angry]",
    *(word for words in WORDS.values() for word in words.values()),
] * 3
SPECIAL = ["<unk>", "<bos>", "<eos>"]
TURNS = ["<start_of_turn>", "<end_of_turn>"]
CHATML = ["<|im_start|>", "<|im_end|>"]
CHATML_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DATED_TEMPLATE = "[{{ date_string }}]" + CHATML_TEMPLATE


def byte_level(special):
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=700, special_tokens=special, initial_alphabet=alphabet)
    )
    return inner


def unigram(special, scheme):
    """Like SentencePiece: a mark for the space, before the first word too (always, or at the start only)."""
    inner = Tokenizer(models.Unigram())
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    inner.decoder = decoders.Metaspace(prepend_scheme=scheme)
    inner.train_from_iterator(
        TEXT, trainers.UnigramTrainer(vocab_size=400, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    return inner


def gemma_like(special):
    """BPE over the whole line, spaces as marks, newlines as tokens of their own: what Gemma's tokenizer does."""
    inner = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    inner.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=600, special_tokens=special))
    inner.add_tokens(["\n"])
    return inner


def with_tokens(inner, tokens):
    inner.add_tokens(tokens)
    return inner


def wrapped(inner, first=True, template=None):
    if first:
        number = inner.token_to_id("<bos>")
        inner.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", number)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = template
    return tokenizer


TOKENIZERS = {
    "byte-level, gemma": lambda: wrapped(byte_level(SPECIAL + TURNS)),
    "byte-level, gemma and a template": lambda: wrapped(byte_level(SPECIAL + TURNS + CHATML), template=CHATML_TEMPLATE),
    "byte-level, chatml": lambda: wrapped(byte_level(SPECIAL + CHATML), first=False, template=CHATML_TEMPLATE),
    "byte-level, chatml not special": lambda: wrapped(
        with_tokens(byte_level(SPECIAL), CHATML), template=CHATML_TEMPLATE
    ),
    "byte-level, plain": lambda: wrapped(byte_level(SPECIAL), first=False),
    "gemma-like": lambda: wrapped(gemma_like(SPECIAL + TURNS)),
    "unigram, always, plain": lambda: wrapped(unigram(SPECIAL, "always")),
    "unigram, first, plain": lambda: wrapped(unigram(SPECIAL, "first")),
    "unigram, always, chatml": lambda: wrapped(unigram(SPECIAL + CHATML, "always"), template=CHATML_TEMPLATE),
    "unigram, first, gemma": lambda: wrapped(unigram(SPECIAL + TURNS, "first")),
}
CONTROL = [
    *SPECIAL,
    *TURNS,
    *CHATML,
    "<START_OF_TURN>",
    "<<bos>bos>",
    TAG,
    "{",
    "{{ x }}",
    "{%",
    "\ue000",
    "]",
    "(",
    ":",
]
TRANSCRIPTIONS = st.lists(
    st.lists(st.one_of(st.text(max_size=12), st.sampled_from(CONTROL), st.sampled_from(TEXT)), max_size=5).map("".join),
    max_size=4,
)


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request):
    return TOKENIZERS[request.param]()


def chat_text(tokenizer, text):
    """The whole input as text, written down once more from the paper, from the template, or as it is."""
    if tokenizer.convert_tokens_to_ids("<start_of_turn>") not in (None, tokenizer.unk_token_id):
        return f"<bos><start_of_turn>user\n{text.strip()}<end_of_turn>\n<start_of_turn>model\n"
    if tokenizer.chat_template:
        talk = [{"role": "user", "content": text}]
        return tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    return None


def whole(tokenizer, prompt, transcription):
    text = chat_text(tokenizer, prompt.render(transcription))
    if text is None:
        plain = prompt.render(transcription) + ("\n" if prompt.template.endswith(TAG) else "")
        return tokenizer(plain)["input_ids"]
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("name", PROMPTS)
def test_prefix_and_rest_are_the_whole_input(tokenizer, name):
    prompt = PROMPTS[name]
    clips = ["hoy no", "(risas) hoy no", " hoy", "¿qué?", "...", "", "9 de mayo", "hoy no hoy no", ":", "\n\nhoy\n"]
    batch = prompt.encode(tokenizer, clips)
    assert [batch.prefix + rest for rest in batch.rests] == [whole(tokenizer, prompt, clip) for clip in clips]
    assert all(batch.rests) and len(batch) == len(clips)
    assert len(batch.prefix) > len(tokenizer(prompt.render(""))["input_ids"]) / 2


@settings(max_examples=60, deadline=None)
@given(clips=TRANSCRIPTIONS)
def test_transcriptions_are_data(tokenizer, clips):
    """Whatever a transcription holds, the control tokens are those of the chat format; plain ones go in unchanged."""
    prompt = PROMPTS["gemma"]
    batch = prompt.encode(tokenizer, clips)
    control = set(tokenizer.all_special_ids) | {tokenizer.convert_tokens_to_ids(t) for t in TURNS + CHATML}
    control -= {tokenizer.unk_token_id}
    expected = [token for token in whole(tokenizer, prompt, "") if token in control]
    for clip, rest in zip(clips, batch.rests, strict=True):
        ids = batch.prefix + rest
        assert [token for token in ids if token in control] == expected
        if not any(token.casefold() in clip.casefold() for token in SPECIAL + TURNS + CHATML):
            assert ids == whole(tokenizer, prompt, clip)


@pytest.mark.parametrize("name", PROMPTS)
def test_the_prefix_does_not_depend_on_the_clips(name):
    for made in TOKENIZERS.values():
        tokenizer = made()
        batches = [[], ["hoy"], ["hoy", "hoy hoy"], ["¿no?", "ya", "<bos>"], ["hoy"] * 3]
        prefixes = [PROMPTS[name].encode(tokenizer, clips).prefix for clips in batches]
        assert all(prefix == prefixes[0] for prefix in prefixes)


@pytest.mark.parametrize("name", [name for name in TOKENIZERS if name.startswith("byte-level")])
def test_a_broken_control_token_is_still_readable(name):
    tokenizer = TOKENIZERS[name]()
    batch = PROMPTS["gemma"].encode(tokenizer, ["antes <eos> después"])
    assert ":antes < eos> después" in tokenizer.decode(batch.rests[0])


def test_a_tokenizer_without_control_tokens_will_do():
    inner = Tokenizer(models.WordLevel({"hoy": 0, ":": 1, "is": 2, "unknown": 3}, unk_token="unknown"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner)
    prompt = PROMPTS["gemma"]
    batch = prompt.encode(tokenizer, ["hoy", "hoy hoy"])
    assert batch.rests == [[1, 0], [1, 0, 0]] and batch.end == ""


def test_control_tokens_that_a_tokenizer_makes_from_other_text_are_refused():
    inner = byte_level(SPECIAL)
    inner.normalizer = normalizers.NFKC()
    inner.add_special_tokens([AddedToken("<stop>", special=True, normalized=True)])
    tokenizer = wrapped(inner)
    with pytest.raises(DataError, match="number 2"):
        PROMPTS["gemma"].encode(tokenizer, ["hola", "hola ＜stop＞"])
    assert PROMPTS["gemma"].encode(tokenizer, ["hola <stop>"]).rests


@given(st.text(), st.sampled_from(sorted(PROMPTS)))
def test_the_transcription_is_found_in_the_prompt(transcription, name):
    before, after = PROMPTS[name].template.split(TAG)
    text = PROMPTS[name].render(transcription)
    assert text.startswith(before) and text.endswith(after)
    assert text[len(before) : len(text) - len(after)] == transcription


def test_table_1_to_the_letter():
    assert " ".join(PROMPTS["gemma"].render("hola").split()) == (
        "Instruction: Given the following audio transcription, predict the emotion of the speaker. The emotion can be "
        "one of the following: [neutral, sad, angry, happy, surprise, fear, disgust, contempt] The transcription "
        "is:hola"
    )
    assert PROMPTS["gemma"].template.count("\n") == 3
    assert PROMPTS["qwen-audio"].render("hola") == (
        "Select the predominant emotion from neutral, disgust, anger, joy, sadness and fear. Answer only with one of "
        "the emotion words and nothing else. Consider also its transcription: hola"
    )


@pytest.mark.parametrize(
    ("name", "words", "others"),
    [
        ("gemma", ADJECTIVES, {"surprise", "contempt"}),
        ("gemma-six", ADJECTIVES, set()),
        ("qwen-audio", NOUNS, set()),
        ("gemma-spanish", SPANISH, set()),
    ],
)
def test_a_prompt_names_the_words_it_says_it_names(name, words, others):
    prompt = PROMPTS[name]
    places = [prompt.template.find(word, prompt.template.find("neutral")) for word in prompt.words]
    assert places == sorted(places) and -1 not in places
    assert set(words) == set(LABELS)
    assert set(prompt.words) == set(words.values()) | others


@pytest.mark.parametrize("name", [*PROMPTS, *AUDIO_PROMPTS])
def test_prompts_list_labels_of_ones_own(name):
    prompt = {**PROMPTS, **AUDIO_PROMPTS}[name]
    assert prompt.listing(dict.fromkeys(LABELS, "x")) is prompt
    own = prompt.listing(words_for(["Freude", "Ärger", "ruhig"], "spanish"))
    assert own.words == ("Freude", "Ärger", "ruhig")
    assert re.search(r"Freude, Ärger(,| and| or) ruhig\b", own.template)
    assert not any(re.search(rf"\b{word}\b", own.template) for word in prompt.words)


def test_gemma_answers_start_a_line_and_end_the_turn():
    tokenizer = TOKENIZERS["gemma-like"]()
    batch = PROMPTS["gemma"].encode(tokenizer, ["hoy"])
    assert (batch.tail, batch.end) == ("<end_of_turn>\n<start_of_turn>model\n", "<end_of_turn>")
    pieces = batch.table(tokenizer)
    assert pieces.piece.head(2).tolist() == ["<bos>", "<start_of_turn>"]
    assert "".join(pieces.text).startswith("<bos><start_of_turn>user\nInstruction:\nGiven")
    assert pieces.part.value_counts()["prefix"] == len(batch.prefix)


def test_the_chat_format_can_be_chosen():
    tokenizer = TOKENIZERS["byte-level, gemma and a template"]()
    prompt = PROMPTS["gemma"]
    assert chat_of(tokenizer) == "gemma"
    own = prompt.encode(tokenizer, ["hoy"], chat="own")
    talk = [{"role": "user", "content": prompt.render("hoy")}]
    expected = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=False)
    assert own.prefix + own.rests[0] == expected
    assert (own.tail, own.end) == ("<|im_end|>\n<|im_start|>assistant\n", "<eos>")
    plain = prompt.encode(tokenizer, ["hoy"], chat="plain")
    assert tokenizer.decode(plain.prefix + plain.rests[0]) == "<bos>" + prompt.render("hoy") + "\n"
    ends = Prompt(f"Text: {TAG}\nemotion =", "en", (), "test").encode(tokenizer, ["hoy"], chat="plain")
    assert ends.tail == "\nemotion ="


def test_a_template_that_writes_the_date_gives_the_same_tokens_every_day():
    tokenizer = wrapped(byte_level(SPECIAL + CHATML), first=False, template=DATED_TEMPLATE)
    batch = PROMPTS["gemma"].encode(tokenizer, ["hoy"])
    assert tokenizer.decode(batch.prefix).startswith("[26 Jul 2024]")


@pytest.mark.parametrize(
    ("chat", "says"), [("gemma", "start_of_turn"), ("own", "chat template"), ("gema", "did you mean 'gemma'")]
)
def test_impossible_chat_formats_are_refused(chat, says):
    with pytest.raises(UsageError, match=says):
        PROMPTS["gemma"].encode(TOKENIZERS["byte-level, plain"](), ["hoy"], chat=chat)


def test_templates_and_names_are_checked():
    for template in ("no tag", f"{TAG} and {TAG}"):
        with pytest.raises(UsageError, match="exactly once"):
            Prompt(template, "en", (), "test")
    with pytest.raises(UsageError, match="did you mean 'gemma-six'"):
        prompt_named("gemma-sixx")
    twice = wrapped(byte_level(SPECIAL), template="{{ messages[0]['content'] }}{{ messages[0]['content'] }}")
    with pytest.raises(UsageError, match="2 times"):
        PROMPTS["gemma"].encode(twice, ["hoy"])
