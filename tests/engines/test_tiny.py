"""Tiny checkpoints: ordinary files, the same each time, and Qwen's own chat template."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r4agent.engines import Checkpoint, cpu
from r4agent.engines.tiny import SPECIALS, TAGS, chat_template, make_tiny, make_tokenizer
from r4agent.errors import UsageError

FAMILIES = ["qwen2_5_vl", "qwen3_vl"]
Tiny = Callable[[str], Path]

TEXT = st.text(st.sampled_from("ab {}<>\"'\\\n%é你"), max_size=8)
IMAGE = st.sampled_from([{"type": "image"}, {"type": "image_url", "image_url": {"url": "x"}}])
PARTS = st.lists(st.one_of(IMAGE, TEXT.map(lambda text: {"type": "text", "text": text})), max_size=4)
CONTENT = st.one_of(TEXT, PARTS)
ARGUMENTS = st.one_of(st.dictionaries(TEXT, st.one_of(TEXT, st.integers())), TEXT)
CALL = st.builds(lambda name, arguments: {"name": name, "arguments": arguments}, TEXT, ARGUMENTS)
CALLS = st.lists(st.one_of(CALL, CALL.map(lambda call: {"type": "function", "function": call})), max_size=2)
WORDS = st.one_of(TEXT, st.lists(TEXT.map(lambda text: {"type": "text", "text": text}), max_size=3))
MESSAGE = st.one_of(
    st.builds(lambda c: {"role": "user", "content": c}, CONTENT),
    st.builds(lambda c: {"role": "tool", "content": c}, CONTENT),
    st.builds(lambda c, calls: {"role": "assistant", "content": c, "tool_calls": calls}, WORDS, CALLS),
)
SYSTEM = WORDS.map(lambda content: {"role": "system", "content": content})
CONVERSATION = st.builds(
    lambda system, messages: system + messages,
    st.lists(SYSTEM, max_size=1),
    st.lists(MESSAGE, min_size=1, max_size=6),
)
TOOLS = st.lists(
    st.builds(lambda name: {"type": "function", "function": {"name": name, "parameters": {}}}, TEXT),
    max_size=2,
)


def rendered(template: str, messages: list[dict[str, Any]], **options: Any) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    return str(render_jinja_template([messages], chat_template=template, **options)[0][0])


def qwen(name: str) -> str:
    """A template as Qwen ships it, from the copy that TRL carries."""
    return (files("trl") / "chat_templates" / name).read_text()


@settings(deadline=None)  # the first one imports transformers
@given(CONVERSATION, TOOLS, st.booleans())
def test_template_is_qwen3_vls(messages: list[dict[str, Any]], tools: list[Any], ask: bool) -> None:
    options = {"tools": tools or None, "add_generation_prompt": ask}
    ours = rendered(chat_template("qwen3_vl"), messages, **options)
    assert ours == rendered(qwen("qwen3_vl.jinja"), messages, **options)


@settings(deadline=None)
@given(CONVERSATION)
def test_template_is_qwen2_5_vls_as_far_as_that_goes(messages: list[dict[str, Any]]) -> None:
    """It has no tools, and writes a default system message."""
    plain = [
        {"role": m["role"], "content": m["content"]}
        for m in messages
        if m["role"] in ("system", "user", "assistant")
    ] or [{"role": "user", "content": "x"}]
    ours = rendered(chat_template("qwen2_5_vl"), plain, add_generation_prompt=True)
    assert ours == rendered(qwen("qwen2_5_vl.jinja"), plain, add_generation_prompt=True)


@settings(deadline=None)
@given(CONVERSATION, TOOLS)
def test_both_templates_differ_only_in_the_default(messages: list[dict[str, Any]], tools: list[Any]) -> None:
    spoken = messages
    if messages[0]["role"] != "system":
        spoken = [{"role": "system", "content": "You are a helpful assistant."}, *messages]
    assert rendered(chat_template("qwen2_5_vl"), messages, tools=tools or None) == rendered(
        chat_template("qwen3_vl"), spoken, tools=tools or None
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_every_id_has_its_token(tiny: Tiny, family: str) -> None:
    checkpoint = Checkpoint.load(tiny(family))
    tokenizer = checkpoint.tokenizer
    size = checkpoint.config["text_config"]["vocab_size"]
    assert tokenizer.get_vocab_size() == size == 256 + len(SPECIALS) + len(TAGS)
    assert sorted(tokenizer.get_vocab().values()) == list(range(size))
    added = tokenizer.get_added_tokens_decoder()
    assert {token.content: token.special for token in added.values()} == {
        **dict.fromkeys(SPECIALS, True),
        **dict.fromkeys(TAGS, False),
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_reads_it_as_we_do(tiny: Tiny, family: str) -> None:
    cpu.prepare()
    from transformers import AutoModelForImageTextToText, AutoProcessor

    checkpoint = Checkpoint.load(tiny(family))
    processor = AutoProcessor.from_pretrained(tiny(family))
    text = "Zażółć 你好\n <tool_call>{}</tool_call> 🙂"
    theirs = processor.tokenizer(text)["input_ids"]
    assert theirs == checkpoint.tokenizer.encode(text, add_special_tokens=False).ids
    assert processor.tokenizer.decode(theirs) == text
    assert processor.chat_template == chat_template(checkpoint.family)
    assert checkpoint.profile.grid == processor.image_processor.patch_size * 2
    model, info = AutoModelForImageTextToText.from_pretrained(tiny(family), output_loading_info=True)
    assert not any(info.values()), "a weight is missing or has another shape"
    assert 500_000 < sum(p.numel() for p in model.parameters()) < 1_000_000
    assert model.generation_config.eos_token_id == [
        checkpoint.token("<|im_end|>"),
        checkpoint.token("<|endoftext|>"),
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_arguments_make_the_same_files(tiny: Tiny, family: str, tmp_path: Path) -> None:
    again = make_tiny(family, tmp_path / "again")
    other = make_tiny(family, tmp_path / "other", seed=1)
    names = sorted(path.name for path in again.iterdir())
    assert names == sorted(path.name for path in tiny(family).iterdir())
    for name in names:
        assert (again / name).read_bytes() == (tiny(family) / name).read_bytes(), name
        if name != "model.safetensors":
            assert (again / name).read_bytes() == (other / name).read_bytes(), name
    assert (again / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()


def test_sizes(tmp_path: Path) -> None:
    folder = make_tiny("qwen3_vl", tmp_path / "larger", hidden=192, layers=3)
    config = json.loads((folder / "config.json").read_text())["text_config"]
    assert (config["hidden_size"], config["num_attention_heads"], config["num_hidden_layers"]) == (192, 3, 3)
    for wrong in ({"hidden": 100}, {"hidden": 0}, {"layers": 0}):
        with pytest.raises(UsageError, match="hidden"):
            make_tiny("qwen3_vl", tmp_path, **wrong)
    with pytest.raises(UsageError, match="must be one of qwen2_5_vl, qwen3_vl"):
        make_tiny("llama", tmp_path)  # type: ignore[arg-type]


def test_from_a_shell(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "r4agent.engines.tiny",
        "qwen3-vl",
        str(tmp_path / "made"),
        "--seed",
        "3",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == str(tmp_path / "made")
    assert Checkpoint.load(tmp_path / "made").family == "qwen3_vl"


@given(st.text(max_size=200))
def test_with_words_a_text_comes_back_as_it_was(text: str) -> None:
    tokenizer = make_tokenizer(words=True)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == make_tokenizer().normalizer.normalize_str(text)


def test_words_make_a_prompt_short(tmp_path: Path) -> None:
    """Each id has its token and the same prompt the same ids, as without; only fewer of them."""
    checkpoint = Checkpoint.load(make_tiny("qwen2_5_vl", tmp_path / "words", words=True))
    assert (
        checkpoint.vocabulary
        == checkpoint.tokenizer.get_vocab_size()
        == len(set(checkpoint.tokenizer.get_vocab().values()))
    )
    prompt = "Look closer: a region of a picture, cut from the source at full resolution."
    ids = checkpoint.tokenizer.encode(prompt, add_special_tokens=False).ids
    assert len(ids) < len(prompt.encode()) / 3
    assert ids == make_tokenizer(words=True).encode(prompt, add_special_tokens=False).ids
