"""The nano policy: a model of six million parameters that comes with the package and ruminates in level 0.

    r4 ask clip.mp4 "What does the red sign say?" --policy nano
    graph = create_rumination_graph("nano")

Promises: an ordinary Qwen2.5-VL checkpoint, `checkpoint/`, which transformers and vLLM load like any other;
its files are those whose checksums are beside them. It brings its own Budget (`r4agent.json`).
Does not: read anything but short codes and words on the signs of level 0. docs/nano.md is its card.
"""

import hashlib
from pathlib import Path

from r4agent.errors import MissingError, one_line
from r4agent.policy.chat import ChatR4

FOLDER = Path(__file__).parent / "checkpoint"
SUMS = "SHA256SUMS"


def nano_checkpoint() -> Path:
    """The folder of the checkpoint. Raises MissingError when its files are not those that were shipped."""
    try:
        found, shipped = sums(FOLDER), (FOLDER / SUMS).read_text().splitlines()
    except OSError as error:
        raise MissingError(f"{FOLDER}: is not whole: {one_line(error)}; install r4agent anew") from error
    if found != shipped:
        raise MissingError(f"{FOLDER}: its files are not those that were shipped; install r4agent anew")
    return FOLDER


def sums(folder: Path) -> list[str]:
    """The lines of SHA256SUMS for the files in a folder, by name."""
    files = sorted(path for path in folder.iterdir() if path.name != SUMS)
    return [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in files]


def make_nano() -> ChatR4:
    """The policy on transformers. For vLLM: `ChatR4(model=str(nano_checkpoint()), engine="vllm")`."""
    return ChatR4(model=str(nano_checkpoint()), engine="transformers")
