"""Prompts with a place for the audio: one place, where the template says, whatever is in a transcription."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from emoser_lib.errors import UsageError
from emoser_lib.systems.checkpoints.folders import DEMO_LLM_FOLDER
from emoser_lib.systems.prompts.audio import AUDIO_PROMPTS, TRANSCRIBE, audio_prompt
from emoser_lib.systems.prompts.text import AUDIO, AUDIO_MARK, AUDIO_TAG, TAG, Prompt

TOKENIZER: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(DEMO_LLM_FOLDER, local_files_only=True)
SAID = st.text(st.characters(codec="utf-8", exclude_characters="▁"), max_size=30)
# Without what a control token or the mark begins with: those are broken by a space.
PLAIN = st.text(st.characters(codec="utf-8", exclude_characters=f"▁<[{AUDIO_MARK[0]}"), max_size=30)
ANY = SAID | st.sampled_from([AUDIO_TAG, AUDIO_MARK, TAG, "<start_of_turn>", f"a{AUDIO_MARK}b"])


def test_the_released_prompt_to_the_letter() -> None:
    """facts/papers.md; the frames stand for the token of the blank line after "Audio information:"."""
    assert AUDIO_PROMPTS["whisper-gemma"].template.replace(AUDIO_TAG, "\n\n") == (
        "Instruction: \nGiven the following audio information and the transcription, predict the emotion of the "
        "speaker.\nThe emotion can be one of the following: [ neutral, sad, angry, happy, surprise, fear, disgust, "
        "contempt]\n"
        "The transcription is: <transcription>\nAudio information:\n\nOutput:\nemotion ="
    )


@pytest.mark.parametrize("chat", ["plain", "gemma"])
@pytest.mark.parametrize("name", AUDIO_PROMPTS)
@settings(max_examples=25, deadline=None)
@given(said=st.lists(ANY, min_size=1, max_size=4))
def test_the_audio_has_one_place(name: str, chat: str, said: list[str]) -> None:
    encoded = AUDIO_PROMPTS[name].encode(TOKENIZER, said, chat)
    assert AUDIO not in encoded.prefix
    assert [rest.count(AUDIO) for rest in encoded.rests] == [1] * len(said)


@pytest.mark.parametrize("name", AUDIO_PROMPTS)
@settings(max_examples=25, deadline=None)
@given(said=PLAIN)
def test_it_is_where_the_template_says(name: str, said: str) -> None:
    prompt = AUDIO_PROMPTS[name]
    encoded = prompt.encode(TOKENIZER, [said], "plain")
    whole = [*encoded.prefix, *encoded.rests[0]]
    place = whole.index(AUDIO)
    assert whole[0] == TOKENIZER.bos_token_id
    sides = [whole[1:place], whole[place + 1 :]]
    texts = [TOKENIZER.decode(side, clean_up_tokenization_spaces=False) for side in sides]
    newline = "\n" if prompt.template.endswith(TAG) else ""
    assert texts == (prompt.render(said) + newline).split(AUDIO_TAG)
    assert encoded.leading == prompt.leading


def test_what_comes_before_clip_and_audio_is_shared() -> None:
    shared = {name: len(p.encode(TOKENIZER, ["uno", "dos"], "plain").prefix) for name, p in AUDIO_PROMPTS.items()}
    assert shared["whisper-gemma"] > 40
    assert shared["emosllm"] == 1, "audio comes first: only the token for the beginning is shared"
    assert TRANSCRIBE.encode(TOKENIZER, [""], "plain").rests[0].count(AUDIO) == 1


def test_a_prompt_with_no_place_or_two_is_refused() -> None:
    for template in ("Say it.", f"{AUDIO_TAG} and {AUDIO_TAG}", f"{TAG}{TAG}{AUDIO_TAG}"):
        with pytest.raises(UsageError, match="exactly once"):
            Prompt(template, "en", (), "a test")
    with pytest.raises(UsageError, match=r"no audio prompt 'emosllmm' \(did you mean 'emosllm'\?\)"):
        audio_prompt("emosllmm")
