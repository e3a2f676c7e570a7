"""Tiny random checkpoints of both families: what tests and benchmarks run on, made here with no hub.

    python -m r4agent.engines.tiny qwen2.5-vl DIR
    python -m r4agent.engines.tiny qwen3-vl DIR --hidden 256 --layers 4
    python -m r4agent.engines.tiny qwen2.5-vl DIR --words

Promises: an ordinary checkpoint, with the files and names that Qwen's own have, that vLLM and transformers
load; the same arguments give the same weights and the same ids for the same text, and every id has a token.
All of Qwen's special tokens and tags are there. A text takes as many tokens as it has bytes; with `words` a
prompt of the graph's takes a quarter of that, which makes training on a CPU several times as fast.
Does not: know anything. Its replies are noise, but the same noise on every engine.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from r4agent.budget import Budget
from r4agent.engines import cpu
from r4agent.engines.chatml import DEFAULT_SYSTEM, TOOLS
from r4agent.engines.checkpoint import Family
from r4agent.errors import MissingError, UsageError
from r4agent.geometry import QWEN2_5_VL
from r4agent.protocol import LAST_TURN, system_text
from r4agent.tools import TOOLS as LOOKS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
TAGS = (
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>",
)  # fmt: skip
"""Tokens of their own that are text all the same: Qwen's tokenizers don't call these special."""

MERGES = 1000  # at most; the prompt has words for about half of them
HEAD = 64  # size of an attention head; vLLM's CPU kernels take few sizes
CONTEXT = 32768
SPREAD = 0.1  # of the weights; with the usual 0.02 a picture hardly shows in what is said
PATCH = {"qwen2_5_vl": 14, "qwen3_vl": 16}
MERGE = 2
PICTURE_TOKENS = (4, 1280)  # least and most. Engines try the largest picture when they start


def make_tiny(
    family: Family,
    folder: str | Path,
    *,
    seed: int = 0,
    hidden: int = 128,
    layers: int = 2,
    words: bool = False,
) -> Path:
    """Write a random checkpoint into `folder`: 0.7 million parameters, or as many as `hidden` (a multiple of
    64) and `layers` make. words: tokens for the words of the graph's own prompt. Returns the folder."""
    if family not in PATCH:
        raise UsageError(f"family {family!r}: must be one of {', '.join(PATCH)}")
    if hidden < HEAD or hidden % HEAD or layers < 1:
        raise UsageError(f"hidden {hidden}, layers {layers}: must be a multiple of {HEAD}, and at least 1")
    tokenizer = make_tokenizer(words=words)
    config = _config(family, tokenizer.get_vocab(), hidden, layers)
    return write(family, Path(folder), tokenizer, config, seed)


def write(
    family: Family,
    folder: Path,
    tokenizer: "Tokenizer",
    config: dict[str, Any],
    seed: int,
    change: Callable[[Any], None] = lambda model: None,
) -> Path:
    """Write a checkpoint of random weights with this config and tokenizer, and all the files that Qwen's own
    have. change: is given the model before it is saved. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(chat_template(family))
    for name, value in _settings(family).items():
        (folder / name).write_text(json.dumps(value, indent=2) + "\n")
    _save_weights(family, folder, tokenizer.get_vocab(), config, seed, change)
    return folder


def make_tokenizer(*, words: bool = False) -> "Tokenizer":
    """Bytes as tokens, in the order of their values; with `words` merges of them; then Qwen's special tokens,
    then the tags."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.normalizer = normalizers.NFC()  # as Qwen's
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if words:
        trainer = trainers.BpeTrainer(
            vocab_size=len(alphabet) + MERGES, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator([_prompt()], trainer)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIALS])
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in TAGS])
    return tokenizer


def _prompt() -> str:
    """What a model is told in every run, as far as it is the same: the text whose words become tokens."""
    signatures = [
        {"type": "function", "function": {"name": name, "parameters": arguments.model_json_schema()}}
        for name, arguments in LOOKS.items()
    ]
    about = "a video of 5 s, [v1] frame 12 at 0.90 s, source [0, 0, 1280, 720], shown 140x84"
    return system_text(about, signatures, QWEN2_5_VL, Budget()) + LAST_TURN


def chat_template(family: Family) -> str:
    """Qwen's ChatML for messages with images, tool calls and tool responses, and for signatures of tools."""
    before, after = TOOLS.format(signatures="\0").split("\n\0")
    words = {"BEFORE": before, "AFTER": after, "DEFAULT": DEFAULT_SYSTEM[family] or ""}
    template = CHAT_TEMPLATE
    for name, text in words.items():
        template = template.replace(name, json.dumps(text))
    return template


CHAT_TEMPLATE = """\
{%- if messages[0].role != 'system' and (tools or DEFAULT) %}
    {{- '<|im_start|>system\\n' + DEFAULT + ('\\n\\n' if tools and DEFAULT else '') }}
    {%- if tools %}
        {{- BEFORE }}{% for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{% endfor %}{{- AFTER }}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role != 'tool' %}
        {{- '<|im_start|>' + message.role + '\\n' }}
    {%- else %}
        {%- if loop.first or loop.previtem.role != 'tool' %}{{- '<|im_start|>user' }}{% endif %}
        {{- '\\n<tool_response>\\n' }}
    {%- endif %}
    {%- if message.content is string %}
        {{- message.content }}
    {%- elif message.content %}
        {%- for content in message.content %}
            {%- if content.type == 'image' or 'image' in content or 'image_url' in content %}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- elif 'text' in content %}
                {{- content.text }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {%- for tool_call in message.tool_calls or [] %}
        {%- set call = tool_call.function or tool_call %}
        {{- '\\n' if message.content or not loop.first else '' }}
        {{- '<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
        {{- call.arguments if call.arguments is string else call.arguments | tojson }}
        {{- '}\\n</tool_call>' }}
    {%- endfor %}
    {%- if tools and loop.first and message.role == 'system' %}
        {{- '\\n\\n' + BEFORE }}
        {%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{% endfor %}{{- AFTER }}
    {%- endif %}
    {{- '\\n</tool_response>' if message.role == 'tool' else '' }}
    {%- if message.role != 'tool' or loop.last or loop.nextitem.role != 'tool' %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{{- '<|im_start|>assistant\\n' if add_generation_prompt else '' }}
"""


def _settings(family: Family) -> dict[str, dict[str, Any]]:
    """The files beside config, weights and tokenizer.json, by name."""
    two = family == "qwen2_5_vl"
    least, most = (count * (PATCH[family] * MERGE) ** 2 for count in PICTURE_TOKENS)
    clip = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    mean, std = clip if two else ([0.5] * 3, [0.5] * 3)
    pictures = {
        "size": {"shortest_edge": least, "longest_edge": most},
        "patch_size": PATCH[family],
        "temporal_patch_size": 2,
        "merge_size": MERGE,
        "image_mean": mean,
        "image_std": std,
        "processor_class": "Qwen2_5_VLProcessor" if two else "Qwen3VLProcessor",
    }
    video = "Qwen2VLVideoProcessor" if two else "Qwen3VLVideoProcessor"
    return {
        "preprocessor_config.json": {**pictures, "image_processor_type": "Qwen2VLImageProcessor"},
        "video_preprocessor_config.json": {**pictures, "video_processor_type": video},
        "tokenizer_config.json": {
            "tokenizer_class": "Qwen2Tokenizer",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "model_max_length": CONTEXT,
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
        },
    }


def _save_weights(
    family: Family,
    folder: Path,
    ids: dict[str, int],
    config: dict[str, Any],
    seed: int,
    change: Callable[[Any], None],
) -> None:
    cpu.prepare()
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingError('no transformers: pip install "r4agent[transformers]"') from error
    config_class, model_class = (
        (transformers.Qwen2_5_VLConfig, transformers.Qwen2_5_VLForConditionalGeneration)
        if family == "qwen2_5_vl"
        else (transformers.Qwen3VLConfig, transformers.Qwen3VLForConditionalGeneration)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config_class(**config))
    change(model)
    ends = [ids["<|im_end|>"], ids["<|endoftext|>"]]  # as Qwen's own generation config
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=ends, pad_token_id=ids["<|endoftext|>"], do_sample=False
    )
    model.save_pretrained(folder)


def _config(family: Family, ids: dict[str, int], hidden: int, layers: int) -> dict[str, Any]:
    heads = hidden // HEAD
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]}
    vision: dict[str, Any] = {
        "depth": 2,
        "initializer_range": SPREAD,
        "hidden_size": hidden // 2,
        "intermediate_size": hidden,
        "num_heads": heads,
        "out_hidden_size": hidden,
        "patch_size": PATCH[family],
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
    }
    if family == "qwen2_5_vl":
        vision |= {"window_size": 112, "fullatt_block_indexes": [1]}
    else:
        rope |= {"mrope_section": [12, 10, 10], "mrope_interleaved": True}
        vision |= {"num_position_embeddings": 256, "deepstack_visual_indexes": [0]}
    return {
        "text_config": {
            "vocab_size": len(ids),
            "hidden_size": hidden,
            "intermediate_size": 3 * hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": max(1, heads // 2),
            "head_dim": HEAD,
            "initializer_range": SPREAD,
            "max_position_embeddings": CONTEXT,
            "rms_norm_eps": 1e-6,
            "rope_parameters": rope,
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        "vision_config": vision,
        **picture_tokens(ids),
        "tie_word_embeddings": False,
        "initializer_range": SPREAD,
        "dtype": "float32",
    }


def picture_tokens(ids: dict[str, int]) -> dict[str, int]:
    """What a config says of the tokens around a picture."""
    return {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m r4agent.engines.tiny", description=__doc__.split("\n")[0]
    )
    names = {family.replace("_vl", "-vl").replace("_", "."): family for family in get_args(Family)}
    parser.add_argument("family", choices=names)
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hidden", type=int, default=128, help="width of the language model")
    parser.add_argument("--layers", type=int, default=2, help="its layers")
    parser.add_argument("--words", action="store_true", help="tokens for the words of the graph's prompt")
    given = vars(parser.parse_args())
    folder = make_tiny(names[given.pop("family")], given.pop("folder"), **given)
    print(folder)


if __name__ == "__main__":
    main()
