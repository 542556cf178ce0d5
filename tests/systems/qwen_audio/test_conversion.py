"""Qwen-Audio's first version on native classes: every number kept, nothing half-written, nothing executed."""

import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GenerationConfig, Qwen2AudioForConditionalGeneration, WhisperFeatureExtractor

from emoser_lib.errors import DataError, UsageError
from emoser_lib.systems.qwen_audio import convert_qwen_audio
from emoser_lib.systems.qwen_audio.layout import ConfigurationV1, native_names, shapes
from tests import tiny


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.name not in ("conversion.json", "whole.json")
    }


@pytest.mark.parametrize("shards", [1, 3])
def test_every_number_goes_where_it_belongs(shards: int, tmp_path: Path) -> None:
    source = tiny.write_v1(tmp_path / "source", shards, dtype=torch.bfloat16)
    done = convert_qwen_audio(source, tmp_path / "dest")
    model, loading = Qwen2AudioForConditionalGeneration.from_pretrained(
        tmp_path / "dest", dtype=torch.bfloat16, output_loading_info=True
    )
    assert not any(loading.values()), "nothing missing, nothing unexpected, nothing of another shape"
    v1, new = tensors(source), dict(model.state_dict())
    q, k, v = v1["transformer.h.1.attn.c_attn.weight"].chunk(3)
    attention = "model.language_model.layers.1.self_attn"
    for part, expected in (("q", q), ("k", k), ("v", v)):
        assert torch.equal(new[f"{attention}.{part}_proj.weight"], expected)
    assert torch.equal(new["model.language_model.layers.0.mlp.gate_proj.weight"], v1["transformer.h.0.mlp.w2.weight"])
    start = tiny.v1_configuration()["audio"]["audio_start_id"]
    embeddings, before = new["model.language_model.embed_tokens.weight"], v1["transformer.wte.weight"]
    assert torch.equal(embeddings[start : start + 2], v1["transformer.audio.audio_bos_eos_token.weight"])
    others = [row for row in range(len(before)) if row not in (start, start + 1)]
    assert torch.equal(embeddings[others], before[others])
    assert done.parameters_in == sum(tensor.numel() for tensor in v1.values())
    assert done.parameters_out == sum(tensor.numel() for tensor in tensors(tmp_path / "dest").values())
    assert done.shards == shards


def test_no_name_is_given_twice() -> None:
    given = shapes(ConfigurationV1.model_validate(tiny.v1_configuration()))
    names = [new for old in given for new in native_names(old)]
    assert len(names) == len(set(names))


def test_what_comes_with_the_weights(tmp_path: Path) -> None:
    source = tiny.write_v1(tmp_path / "source", tokenizer=True)
    assert convert_qwen_audio(source, tmp_path / "dest").tokenizer
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "dest")
    assert tokenizer.chat_template
    assert (tokenizer("e\u0301")["input_ids"], tokenizer.model_max_length) == (tokenizer("é")["input_ids"], 2048)
    decoding = GenerationConfig.from_pretrained(tmp_path / "dest")
    assert (decoding.do_sample, decoding.eos_token_id) == (False, tokenizer.convert_tokens_to_ids("<|im_end|>"))
    assert WhisperFeatureExtractor.from_pretrained(tmp_path / "dest").feature_size == 80
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dest", "source"]


@pytest.mark.needs_fixtures
def test_the_originals_tiny_checkpoint(tmp_path: Path) -> None:
    done = convert_qwen_audio(tiny.qwen_fixtures() / "weights", tmp_path / "dest")
    assert not done.tokenizer
    assert done.parameters_in - done.parameters_out == 2 * 64


def deadly(real: Callable[..., Path], move: int, when: str, calls: Iterator[int]) -> Callable[..., Path]:
    """The real one, which kills this process before or after its so-manyth call, counted together with others."""

    def moved(path: Path, target: Path) -> Path:
        last = next(calls) == move
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        new = real(path, target)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return new

    return moved


def convert_until_killed(source: Path, dest: Path, move: int, when: str) -> None:
    """Killed just before, or just after, something gets its name: the only moments at which anything is visible."""

    def convert() -> None:
        calls = count(1)
        for name in ("replace", "rename"):
            setattr(Path, name, deadly(getattr(Path, name), move, when, calls))
        convert_qwen_audio(source, dest)

    assert ended(convert) == -signal.SIGKILL


def ended(work: Callable[[], object]) -> int | None:
    """How a process of its own ends, which need not import anything."""

    def alone() -> None:
        torch.set_num_threads(1)  # a fork has none of the threads that torch may have started
        work()

    process = multiprocessing.get_context("fork").Process(target=alone)
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.parametrize(("move", "when"), [(1, "after"), (2, "before"), (5, "after"), (9, "after"), (11, "before")])
def test_a_killed_conversion_goes_on(move: int, when: str, tmp_path: Path) -> None:
    """Moves: the journal, three shards each with its checksum, index, config.json, the manifest, the folder itself."""
    source = tiny.write_v1(tmp_path / "source", 3, tokenizer=True)
    convert_qwen_audio(source, tmp_path / "whole")
    convert_until_killed(source, tmp_path / "dest", move, when)
    assert not (tmp_path / "dest").exists()
    partial = tmp_path / "dest.partial"
    written = {path.name: path.stat().st_mtime_ns for path in partial.glob("model-*.safetensors")}
    assert len(written) == min(3, (move if when == "after" else move - 1) // 2)
    convert_qwen_audio(source, tmp_path / "dest")
    assert contents(tmp_path / "dest") == contents(tmp_path / "whole")
    kept = {name: (tmp_path / "dest" / name).stat().st_mtime_ns for name in written}
    assert kept == written, "a shard that was there was written again"
    assert not partial.exists()


def test_a_kill_after_the_last_move_leaves_the_whole(tmp_path: Path) -> None:
    source = tiny.write_v1(tmp_path / "source", 1)
    convert_until_killed(source, tmp_path / "dest", 7, "after")
    Qwen2AudioForConditionalGeneration.from_pretrained(tmp_path / "dest")
    with pytest.raises(UsageError, match="converted already"):
        convert_qwen_audio(source, tmp_path / "dest")


@pytest.mark.parametrize("what", ["another source", "a shard that was cut", "half a write"])
def test_what_a_stopped_one_left_is_not_trusted(what: str, tmp_path: Path) -> None:
    source = tiny.write_v1(tmp_path / "source", 2)
    convert_qwen_audio(source, tmp_path / "whole")
    partial = tmp_path / "dest.partial"
    shutil.copytree(tmp_path / "whole", partial)
    if what == "another source":
        shard = source / "model-00001-of-00002.safetensors"
        save_file({name: tensor + 1 for name, tensor in load_file(shard).items()}, shard)
        os.utime(shard, ns=(1, 1))
        (tmp_path / "whole/config.json").unlink()
        shutil.rmtree(tmp_path / "whole")
        convert_qwen_audio(source, tmp_path / "whole")
    elif what == "a shard that was cut":
        os.truncate(partial / "model-00002-of-00002.safetensors", 5_000)
    else:
        (partial / "writing").write_text("half")
    convert_qwen_audio(source, tmp_path / "dest")
    assert {name: of for name, of in contents(tmp_path / "dest").items() if name != "writing"} == contents(
        tmp_path / "whole"
    )
    assert not (tmp_path / "dest/writing").exists()


def config(**changes: object) -> Callable[[Path], None]:
    def write(source: Path) -> None:
        (source / "config.json").write_text(json.dumps(tiny.v1_configuration() | changes))

    return write


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def write(source: Path) -> None:
        held = load_file(source / "model.safetensors")
        change(held)
        save_file(held, source / "model.safetensors")

    return write


def nan(held: dict[str, torch.Tensor]) -> None:
    held["transformer.h.0.mlp.w1.weight"][3, 4] = float("nan")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda source: (source / "config.json").unlink(), "config.json is not there"),
        (lambda source: (source / "config.json").write_text("{"), "is not JSON"),
        (lambda source: (source / "config.json").write_text('{"model_type": "llama"}'), "first version"),
        (config(no_bias=False), "no_bias"),
        (config(hidden_size=32), "audio.output_dim is 24 and hidden_size 32"),
        (config(audio_pad_id=10**6), "beyond vocab_size"),
        (config(num_hidden_layers=3), "lacks 8 tensors, the first is transformer.h.2.ln_1.weight"),
        (config(num_hidden_layers=1), "which Qwen-Audio has not"),
        (config(intermediate_size=32), r"is \[24, 32\], not \[24, 16\] as config.json says"),
        (lambda source: (source / "model.safetensors").unlink(), "has no weights"),
        (lambda source: os.truncate(source / "model.safetensors", 9_000), "cannot be read"),
        (lambda source: (source / "model.safetensors").write_bytes(b""), "cannot be read"),
        (lambda source: shutil.copy(source / "model.safetensors", source / "again.safetensors"), "too"),
        (weights(lambda held: held.pop("lm_head.weight")), "lacks 1 tensors, the first is lm_head.weight"),
        (weights(lambda held: held.update(x=torch.zeros(1))), "has a tensor x"),
        (weights(lambda held: held.update({"lm_head.weight": held["lm_head.weight"].int()})), "is I32"),
        (weights(nan), "1 values that are no numbers"),
        (lambda source: (source / "qwen.tiktoken").write_text("IQ== 0\n"), "is not whole"),
        (
            lambda source: (
                (source / "model.safetensors.index.json").write_text('{"weight_map": {"a": "b.safetensors"}}')
                and (source / "model.safetensors").rename(source / "c.safetensors")
            ),
            "b.safetensors is not there",
        ),
    ],
)
def test_a_source_that_is_not_right_is_refused_in_one_sentence(
    damage: Callable[[Path], object], says: str, tmp_path: Path
) -> None:
    source = tiny.write_v1(tmp_path / "source")
    damage(source)
    with pytest.raises(DataError, match=says) as caught:
        convert_qwen_audio(source, tmp_path / "dest")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "dest").exists()


def test_a_tokenizer_of_another_checkpoint(tmp_path: Path) -> None:
    source = tiny.write_v1(tmp_path / "source", tokenizer=True)
    held = json.loads((source / "config.json").read_text())
    held["audio_pad_id"] += 1
    (source / "config.json").write_text(json.dumps(held))
    with pytest.raises(DataError, match="they are of two checkpoints"):
        convert_qwen_audio(source, tmp_path / "dest")


def test_nothing_in_the_source_is_executed(tmp_path: Path) -> None:
    source = tiny.write_v1(tmp_path / "source", tokenizer=True)
    trap = f"open({str(tmp_path / 'sprung')!r}, 'w')\n"
    for name in ("modeling_qwen.py", "tokenization_qwen.py", "__init__.py"):
        (source / name).write_text(trap)
    held = json.loads((source / "config.json").read_text())
    held["auto_map"] = {"AutoModelForCausalLM": "modeling_qwen.QWenLMHeadModel"}
    (source / "config.json").write_text(json.dumps(held))
    convert_qwen_audio(source, tmp_path / "dest")
    assert not (tmp_path / "sprung").exists()
    assert not list((tmp_path / "dest").glob("*.py"))
    assert "auto_map" not in (tmp_path / "dest/config.json").read_text()


def test_at_most_one_shard_is_in_memory(tmp_path: Path) -> None:
    """Two shards of 58 MB and a small one."""
    source = tmp_path / "source"
    source.mkdir()
    big = tiny.v1_configuration() | {"vocab_size": 600_000}
    (source / "config.json").write_text(json.dumps(big))
    wanted = shapes(ConfigurationV1.model_validate(big))
    held = {name: torch.zeros(shape) for name, shape in wanted.items()}
    for number, name in enumerate(("lm_head.weight", "transformer.wte.weight")):
        save_file({name: held.pop(name)}, source / f"model-{number}.safetensors")
    save_file(held, source / "model-2.safetensors")
    code = (
        "import resource, sys\n"
        "from emoser_lib.systems.qwen_audio import convert_qwen_audio\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "convert_qwen_audio(sys.argv[1], sys.argv[2])\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)\n"
    )
    command = [sys.executable, "-c", code, str(source), str(tmp_path / "dest")]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    shard = (source / "model-0.safetensors").stat().st_size
    assert grown < 1.5 * shard, f"{grown / shard:.1f} shards"


def test_a_full_disk_is_said_and_gone_on_from(tmp_path: Path) -> None:
    source = tiny.write_v1(tmp_path / "source", 3)

    def with_little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        with pytest.raises(DataError, match="cannot be written") as caught:
            convert_qwen_audio(source, tmp_path / "dest")
        assert "\n" not in str(caught.value)

    assert ended(with_little_room) == 0
    assert not (tmp_path / "dest").exists()
    convert_qwen_audio(source, tmp_path / "dest")


def test_the_destination_is_new(tmp_path: Path) -> None:
    source = tiny.write_v1(tmp_path / "source")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(UsageError, match="is there already"):
        convert_qwen_audio(source, tmp_path / "full")
    with pytest.raises(UsageError, match="is not there"):
        convert_qwen_audio(tmp_path / "nowhere", tmp_path / "dest")
    (tmp_path / "empty").mkdir()
    convert_qwen_audio(source, tmp_path / "empty")
    assert (tmp_path / "empty/config.json").is_file()
