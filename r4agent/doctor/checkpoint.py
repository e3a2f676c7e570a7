"""What a checkpoint's own files say, and whether they agree.

Promises: looked at without its weights, in a second.
Does not: look at the chat template (`r4agent.doctor.template`).
"""

import math

from r4agent.doctor.check import NotWell
from r4agent.engines import Checkpoint
from r4agent.protocol import BOX_SPACES

REQUIRED = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
)  # fmt: skip
ANEW = "copy the checkpoint anew, with the config.json and tokenizer.json of one model"


def examine_checkpoint(checkpoint: Checkpoint) -> str:
    """What was found."""
    profile = checkpoint.profile
    cell = profile.grid**2
    return (
        f"{checkpoint.family} in {checkpoint.folder}: boxes in {BOX_SPACES[profile.space]}; "
        f"an image token is {profile.grid}x{profile.grid} pixels, a picture "
        f"{math.ceil(profile.min_pixels / cell):,} to {profile.max_pixels // cell:,} of them; "
        f"a context of {checkpoint.context:,} tokens"
    )


def examine_tokens(checkpoint: Checkpoint) -> str:
    """What was found. Raises NotWell where text and tokens would get mixed up."""
    tokenizer = checkpoint.tokenizer
    ids = {name: checkpoint.token(name) for name in REQUIRED}
    if checkpoint.image_token != ids["<|image_pad|>"]:
        raise NotWell(
            f"the image token is {checkpoint.image_token} in config.json and {ids['<|image_pad|>']} in "
            "tokenizer.json",
            ANEW,
        )
    probe = "Naïve 42 " + "".join(ids)
    said = tokenizer.encode(probe, add_special_tokens=False).ids
    if taken := [name for name, token in ids.items() if token in said]:
        raise NotWell(
            f"text that spells {', '.join(taken)} becomes that token, so text in a video could end a turn",
            'in tokenizer.json give these added_tokens "special": true',
        )
    if (back := tokenizer.decode(said, skip_special_tokens=False)) != probe:
        raise NotWell(f"{probe!r} comes back from the tokenizer as {back!r}", ANEW)
    return "special tokens are there, and text that spells one stays text" + _spare(checkpoint)


def _spare(checkpoint: Checkpoint) -> str:
    """How many ids the model has beyond the tokenizer's. Raises NotWell where it has fewer."""
    rows = (checkpoint.config.get("text_config") or checkpoint.config).get("vocab_size")
    if rows is None:  # its class's own default
        return ""
    tokens = {token: name for name, token in checkpoint.tokenizer.get_vocab().items()}
    if max(tokens) >= rows:
        raise NotWell(
            f"the model has {rows:,} ids, and {tokens[max(tokens)]} is number {max(tokens):,}", ANEW
        )
    spare = rows - len(tokens)
    return f"; {spare:,} of the model's {rows:,} ids have no token, which is padding" if spare else ""
