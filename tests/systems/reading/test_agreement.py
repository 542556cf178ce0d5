"""Scores do not depend on the batch, for any causal architecture that transformers has, or the model is refused."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from emoser_lib.errors import UsageError
from emoser_lib.systems.reading.agreement import check_batches
from emoser_lib.systems.reading.label_logits import batcher, check_batch_size, packing_refusal, padding_refusal
from emoser_lib.systems.reading.llm import load_llm
from emoser_lib.systems.reading.packed_attention import attend_by_clip
from emoser_lib.systems.reading.packing import plain_batch
from emoser_lib.systems.reading.prefix_cache import PrefixCache

SIZES = {
    **dict.fromkeys(["hidden_size", "n_embd", "d_model", "word_embed_proj_dim"], 32),
    **dict.fromkeys(["intermediate_size", "ffn_dim", "decoder_ffn_dim"], 48),
    **dict.fromkeys(["num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"], 2),
    **dict.fromkeys(["num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads"], 4),
    **dict.fromkeys(["decoder_attention_heads", "num_experts", "num_local_experts", "n_routed_experts"], 4),
    **dict.fromkeys(["num_key_value_heads", "num_experts_per_tok", "encoder_layers"], 2),
    **dict.fromkeys(["max_position_embeddings", "n_positions", "n_ctx"], 1024),
    **dict.fromkeys(["moe_intermediate_size", "shared_expert_intermediate_size", "q_lora_rank", "kv_lora_rank"], 16),
    **dict.fromkeys(["qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "head_dim"], 8),
    **dict.fromkeys(["n_group", "topk_group", "first_k_dense_replace"], 1),
    **dict.fromkeys(["hidden_dropout", "attention_dropout", "dropout", "activation_dropout", "attn_pdrop"], 0.0),
    **dict.fromkeys(["embd_pdrop", "resid_pdrop", "hidden_dropout_prob", "attention_probs_dropout_prob"], 0.0),
    **dict.fromkeys(["linear_key_head_dim", "linear_value_head_dim", "mamba_d_state", "ssm_state_size"], 8),
    **dict.fromkeys(["mamba_head_dim", "mamba_d_head"], 8),
    **dict.fromkeys(["linear_num_key_heads", "linear_num_value_heads", "mamba_num_heads", "mamba_n_heads"], 4),
    "mamba_d_ssm": 32,
    "rotary_dim": 4,
    "vocab_size": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}
"""What makes a model of nearly any architecture tiny; each takes those that its configuration has."""

BASIC = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"]

OWN = {
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 16, "num_layers": 2},
    "mistral": {"sliding_window": 16},
    "gemma2": {"sliding_window": 16},
    "gemma3_text": {"sliding_window": 16},
    "bamba": {"mamba_n_heads": 8},
    "granitemoehybrid": {"mamba_n_heads": 8},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "falcon": {"alibi": True, "new_decoder_architecture": False, "multi_query": False, "parallel_attn": False},
}
"""What makes a trap of some: windows that are shorter than a clip, positions that are no ids."""

PREFIX = list(range(5, 45))
RESTS = [[50 + step % 60 for step in range(length)] for length in (7, 13, 3, 21)]
CHOICES = [[90], [91, 92], [93, 94, 95]]


def tiny_config(kind: str) -> PretrainedConfig:
    """A configuration of this architecture, as small as it can be made."""
    of = CONFIG_MAPPING[kind]
    known = of()
    sizes = {name: size for name, size in SIZES.items() if hasattr(known, name)} | OWN.get(kind, {})
    if "qk_rope_head_dim" in sizes or isinstance(getattr(of, "head_dim", None), property):
        sizes.pop("head_dim", None)  # follows from the others
    if "kv_lora_rank" in sizes:
        sizes["num_key_value_heads"] = sizes["num_attention_heads"]
    try:
        config = of(**sizes)
    except Exception:  # each says in its own way that some do not fit together
        config = of(**{name: sizes[name] for name in BASIC if name in sizes})
    if (getattr(config.get_text_config(), "hidden_size", None) or 32) > 64:
        raise ValueError("could not be shrunk")
    return config


def tiny(kind: str) -> PreTrainedModel:
    """A model of it, with weights that are large enough for differences to show."""
    config = tiny_config(kind)
    with torch.device("meta"):
        size = sum(weights.numel() for weights in AutoModelForCausalLM.from_config(config).parameters())
    if size > 3e6:
        raise ValueError("could not be shrunk")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    for weights in model.parameters():
        if weights.dim() > 1 and weights.std() < 0.05:
            weights.data.mul_(4)
    return attend_by_clip(model)


def alone(model: PreTrainedModel) -> torch.Tensor:
    """What transformers itself says of each choice after each clip, one at a time."""

    def score(rest: list[int], choice: list[int]) -> float:
        ids = torch.tensor([[*PREFIX, *rest, *choice]])
        with torch.no_grad():
            said = model(input_ids=ids, use_cache=False).logits[0].float().log_softmax(-1)
        at = len(PREFIX) + len(rest) - 1
        return sum(float(said[at + step, token]) for step, token in enumerate(choice))

    return torch.tensor([[score(rest, choice) for choice in CHOICES] for rest in RESTS])


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What transformers has to say of made-up configurations is of no interest here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def outcome(kind: str) -> str:
    """How a model of this architecture ends: agrees (packed, padded, alone), refused, or what is wrong with it."""
    try:
        model = tiny(kind)
    except Exception:  # transformers raises what it likes where sizes do not fit together
        return "not built"
    try:
        check_batches(model)
    except UsageError as refused:
        assert str(refused).startswith("llm is a ")
        return "refused"
    apart = (PrefixCache(model, PREFIX).log_probabilities(RESTS, CHOICES, batch_size=4) - alone(model)).abs().max()
    way = "packed" if not packing_refusal(model) else "alone" if padding_refusal(model) else "padded"
    return way if apart < 1e-3 else f"WRONG by {apart:.2g} nats, {way}"


NOT_BUILT = frozenset(
    [
        "blt",
        "cohere_compass_text",
        "dbrx",
        "deepseek_v4",
        "dots1",
        "dots3_note",
        "dots3_note_text",
        "emu3",
        "fuyu",
        "gemma3",
        "gemma3n",
        "gemma3n_text",
        "gemma4",
        "gemma4_assistant",
        "gemma4_text",
        "gemma4_unified",
        "gemma4_unified_assistant",
        "gemma4_unified_text",
        "git",
        "got_ocr2",
        "kimi_linear",
        "lfm2_moe",
        "llama4",
        "mllama",
        "modernbert-decoder",
        "moss_transcribe_diarize",
        "musicgen",
        "musicgen_melody",
        "phi4_multimodal",
        "prophetnet",
        "qwen3_5",
        "qwen3_5_moe",
        "qwen4_exp",
        "reformer",
        "roc_bert",
        "xlnet",
        "zamba",
        "zamba2",
        "zaya",
    ]
)
"""Architectures that are not tried: these sizes make none of them, or none that is small."""

ENDS = {
    "packed": "deepseek_v3 gemma gemma2 gemma3_text gpt2 gpt_neox gptj llama mistral mixtral opt phi phi3 qwen2 qwen3",
    "padded": "bloom falcon falcon_mamba gpt_neo jamba mamba openai-gpt recurrent_gemma rwkv",
    "refused": "bert big_bird camembert cpmant electra roberta xlm-roberta",
}
"""How those that people use end."""

KINDS = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


@pytest.mark.parametrize("share", range(6))
def test_no_architecture_scores_by_its_batch(share: int) -> None:
    ends = {kind: outcome(kind) for kind in KINDS[share::6]}
    assert {kind: end for kind, end in ends.items() if end.startswith("WRONG")} == {}
    assert {kind for kind, end in ends.items() if end == "not built"} <= NOT_BUILT
    known = {kind: end for end, kinds in ENDS.items() for kind in kinds.split()}
    assert {kind: end for kind, end in ends.items() if kind in known} == {
        kind: known[kind] for kind in ends if kind in known
    }


def test_one_clip_at_a_time_where_padding_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("gpt2")
    forward = type(model).forward

    def counts_its_row(self: PreTrainedModel, input_ids: torch.Tensor, **options: Any) -> Any:
        """GPT-2 as one that takes no mask, and is surer in a longer row."""
        said = forward(self, input_ids=input_ids, use_cache=False, logits_to_keep=options.get("logits_to_keep", 0))
        said.logits = said.logits * (1 + 0.1 * input_ids.shape[1])
        return said

    monkeypatch.setattr(type(model), "forward", counts_its_row)
    check_batches(model)
    assert "padded and alone, scores of one clip are" in str(padding_refusal(model))
    cache = PrefixCache(model, PREFIX)
    single = [[cache.log_probabilities([rest], [choice]) for choice in CHOICES] for rest in RESTS]
    assert torch.equal(cache.log_probabilities(RESTS, CHOICES, batch_size=4), torch.tensor(single))
    check_batch_size(model, 1)
    with pytest.raises(UsageError, match=r"batch_size is 4, but gpt2 takes one clip at a time .*: set it to 1"):
        check_batch_size(model, 4)


def test_a_checkpoint_that_reads_both_ways_is_no_language_model(tmp_path: Path) -> None:
    tiny("bert").save_pretrained(tmp_path)
    load_llm("emoser/demo-gemma").tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="llm is a bert model, which reads both ways"):
        load_llm(str(tmp_path))


def test_what_was_measured_stays_with_a_model_that_gets_an_adapter(tmp_path: Path) -> None:
    tiny("gpt_neo").save_pretrained(tmp_path)
    load_llm("emoser/demo-gemma").tokenizer.save_pretrained(tmp_path)
    llm = load_llm(str(tmp_path))
    with pytest.warns(UserWarning, match="gpt_neo: plain right-padded batches, slower, .* nats apart"):
        assert batcher(get_peft_model(llm.model, LoraConfig(r=2, target_modules=["k_proj"]))) is plain_batch
