"""The student: the nano policy before it has learnt anything.

    make_student("runs/nano/start")

Promises: an ordinary Qwen2.5-VL checkpoint of six million parameters, random, that vLLM and transformers
load; it brings the Budget that it is asked with. Its tokenizer has bytes, and a token for each run of text
that the graph and its teacher always say the same, so that an episode of level 0 takes some hundreds of
tokens, not thousands; any other text stays bytes.
Does not: know anything. The nano curriculum teaches it.

docs/nano.md says in which three things it is not like Qwen's own models, and why.
"""

import json
import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r4agent import protocol
from r4agent.budget import Budget
from r4agent.engines import tiny
from r4agent.engines.checkpoint import PROFILE_FILE, Checkpoint
from r4agent.errors import UsageError
from r4agent.geometry import QWEN2_5_VL
from r4agent.graphs.dialogue import signature
from r4agent.textworld.level0 import ASK_COLOUR, ASK_LABEL, COLOURS, SIZES
from r4agent.tools import TOOLS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

HIDDEN, LAYERS, HEADS, GROUPS = 256, 4, 4, 2
VISION_HIDDEN, VISION_LAYERS, VISION_HEADS = 192, 4, 6
LIKE = 2  # layers whose keys begin equal to their queries

BUDGET = Budget(turns=12, overview_images=8, overview_tokens=15, picture_tokens=32, images=19, new_tokens=400)
"""What the nano policy is trained and asked with: an overview of 8 pictures of 140x84, closer ones of 32
tokens; turns and pictures for eight labels, a board and a text, and one more: at the last it would be told to
answer."""

CHARACTERS = string.digits + string.ascii_letters
"""What stands on signs."""
NUMBERS = 256  # of an edge, in pixels of the picture, that are one token
PICTURES = BUDGET.images  # whose name is one token

WEIGHTS, EMBEDDINGS = "model.safetensors", "model.embed_tokens.weight"

SAID = (
    "<think>Wanted: ",
    ". It is in this part of ",
    ". It is here in ",
    ": look closer.</think>\n<tool_call>",
    ".</think>\n<tool_call>",
    '{"name": "zoom", "arguments": {"view": "',
    '", "box": ',
    "}}</tool_call>",
    " shows it: ",
    '.</think>\n<evidence>{"view": "',
    "}</evidence><answer>",
    "</answer>",
)
"""What every taught reply says, between what differs."""


def make_student(folder: str | Path, *, seed: int = 0) -> Path:
    """Write the checkpoint into `folder`; returns it. The same seed gives the same weights."""
    tokenizer = make_tokenizer()
    config = _config(tokenizer.get_vocab())
    made = tiny.write("qwen2_5_vl", Path(folder), tokenizer, config, seed, _liken)
    own = {"budget": BUDGET.model_dump(exclude_defaults=True)}
    (made / PROFILE_FILE).write_text(json.dumps(own, indent=2) + "\n")
    return made


def grown(old: str | Path, folder: str | Path) -> Path:
    """Write a student into `folder` with the tokens of now and the weights of an earlier one, which then goes
    on from what it knows. A picture's name that was no token begins as the last that was. Raises UsageError
    where the earlier one lacks another token."""
    import torch
    from safetensors.torch import load_file, save_file

    before = Checkpoint.load(old)
    if Path(folder).resolve() == before.folder.resolve():
        raise UsageError(f"{folder}: is the earlier student itself; give another folder")
    ids, known = make_tokenizer().get_vocab(), before.tokenizer.get_vocab()
    names = [name for name in _names() if name in known]

    def row(word: str) -> int:
        if word not in known and not (names and word in _names()):
            raise UsageError(f"{old}: no earlier student, it has no token {word!r}; begin with make_student")
        return int(known[word if word in known else names[-1]])

    rows = torch.tensor([row(word) for word in sorted(ids, key=ids.__getitem__)])
    weights = load_file(before.folder / WEIGHTS)
    weights[EMBEDDINGS] = weights[EMBEDDINGS][rows]
    made = make_student(folder)
    save_file({name: weight.float() for name, weight in weights.items()}, made / WEIGHTS, {"format": "pt"})
    return made


def make_tokenizer() -> "Tokenizer":
    """Bytes, Qwen's special tokens and tags, then the runs of text of `words`."""
    from tokenizers import AddedToken

    tokenizer = tiny.make_tokenizer()
    known = tokenizer.get_vocab()
    tokenizer.add_tokens(
        [AddedToken(word, special=False, normalized=False) for word in words() if word not in known]
    )
    return tokenizer


def words() -> tuple[str, ...]:
    """Every run of text that is one token."""
    sizes = [f"{size}" for size in SIZES]
    asked = [part for ask in (*ASK_COLOUR, *ASK_LABEL) for part in ask.split("{}") if part]
    return (
        *_system(),
        "system\n",
        "user\n",
        "assistant\n",
        "\n<tool_response>\n",
        "\n</tool_response>",
        *(f" s, {size} pixels, " for size in sizes),
        *(f", source [0, 0, {size.width}, {size.height}], shown " for size in SIZES),
        " frames",
        "a video of ",
        "] frame ",
        " at ",
        " s, source ",
        "], shown ",
        "Question: ",
        *asked,
        *COLOURS,
        *SAID,
        *_names(),
        *(f"{before}{number}" for before in ("[", ", ") for number in range(NUMBERS)),
    )


def _names() -> list[str]:
    """Of pictures."""
    return [f"v{number}" for number in range(1, PICTURES + 1)]


def _system() -> list[str]:
    """The runs of the system message between what differs from run to run."""
    mark = "\0"
    text = protocol.RUMINATE.format(
        media=mark,
        tools="\n".join(json.dumps(signature(name, arguments)) for name, arguments in TOOLS.items()),
        space=protocol.BOX_SPACES[QWEN2_5_VL.space],
        turns=mark,
        images=mark,
    )
    return text.split(mark)


def _config(ids: dict[str, int]) -> dict[str, Any]:
    whole = 112 * 100  # a window that holds any picture
    return {
        "text_config": {
            "vocab_size": len(ids),
            "hidden_size": HIDDEN,
            "intermediate_size": 3 * HIDDEN,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "num_key_value_heads": GROUPS,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 300.0, "mrope_section": [2, 15, 15]},
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        "vision_config": {
            "depth": VISION_LAYERS,
            "hidden_size": VISION_HIDDEN,
            "intermediate_size": 512,
            "num_heads": VISION_HEADS,
            "out_hidden_size": HIDDEN,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": whole,
            "fullatt_block_indexes": list(range(VISION_LAYERS)),
        },
        **tiny.picture_tokens(ids),
        "tie_word_embeddings": True,
        "dtype": "float32",
    }


def _liken(model: Any) -> None:
    """Make the keys of the first layers their queries: those of the first head of each group."""
    import torch

    with torch.no_grad():
        for layer in model.model.language_model.layers[:LIKE]:
            attention = layer.self_attn
            wide = attention.head_dim
            queries = attention.q_proj.weight.view(GROUPS, -1, HIDDEN)
            attention.k_proj.weight.copy_(queries[:, :wide].reshape(-1, HIDDEN))
            attention.q_proj.bias.zero_()
            attention.k_proj.bias.zero_()
