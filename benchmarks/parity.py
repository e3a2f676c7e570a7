"""The same requests to vLLM and to transformers: greedy ids, and the logprob of each.

    python benchmarks/parity.py [--each 8] [--tokens 48] [--model FOLDER]

For both families a tiny random checkpoint in float32, and prompts with 1, 2 and 5 pictures of different sizes
(noise and drawn text) between text; with --model, that checkpoint instead. All requests are sent at once, so
both engines batch as they like. Where ids differ, the first place is printed, with what each engine sampled
there, and what follows is not compared. Ends with one line of JSON. greedy_equal: whether all ids were equal.
max_logprob_gap: the largest difference between the logprobs of the same token.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from r4agent.engines import Checkpoint, Engine, Request, Sample, Sampling, Shown
from r4agent.engines.hf import TransformersEngine
from r4agent.engines.local import VllmEngine
from r4agent.engines.tiny import make_tiny
from r4agent.media.store import picture_ref

PICTURES = (1, 2, 5)  # in one prompt


@dataclass(frozen=True)
class Parity:
    """What a comparison came to."""

    greedy_equal: bool
    max_logprob_gap: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--each", type=int, default=8, help="prompts for each number of pictures")
    parser.add_argument("--tokens", type=int, default=48, help="new tokens for each")
    parser.add_argument("--model", help="a checkpoint to use in place of the tiny ones")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = [given.model] if given.model else tiny_ones(Path(folder))
        found = [measured(Checkpoint.load(model), given.each, given.tokens) for model in models]
    equal = all(parity.greedy_equal for parity in found)
    gap = max(parity.max_logprob_gap for parity in found)
    print(json.dumps({"greedy_equal": equal, "max_logprob_gap": gap}))


def tiny_ones(folder: Path) -> list[Path]:
    return [
        make_tiny("qwen2_5_vl", folder / "qwen2.5-vl"),
        make_tiny("qwen3_vl", folder / "qwen3-vl"),
    ]


def measured(checkpoint: Checkpoint, each: int, tokens: int) -> Parity:
    ours = TransformersEngine(checkpoint, dtype="float32")
    settings = {
        "dtype": "float32",
        "max_model_len": 8192,
        "kv_cache_memory_bytes": 1 << 30,
        "enforce_eager": True,
    }
    theirs = VllmEngine(checkpoint, own_process=True, **settings)  # so that two can follow each other
    try:
        requests = prompts(checkpoint, each, tokens)
        parity = compare(ours, theirs, requests)
    finally:
        ours.close()
        theirs.close()
    print(f"{checkpoint.profile.name}: {len(requests)} prompts, {parity}")
    return parity


def compare(one: Engine, other: Engine, requests: Sequence[Request]) -> Parity:
    """Sends the requests to both, and compares what they sample."""
    futures = [[engine.submit(request) for request in requests] for engine in (one, other)]
    left, right = [[future.result(600) for future in sent] for sent in futures]
    equal, gap = True, 0.0
    for request, a, b in zip(requests, left, right, strict=True):
        assert a.prompt == b.prompt, "the engines saw different prompts"
        same = common(a, b)
        gap = max([gap, *(abs(x - y) for x, y in zip(a.logprobs[:same], b.logprobs[:same], strict=True))])
        if a.ids != b.ids:
            equal = False
            print(f"{len(request.pictures)} pictures, token {same}:", *(at(s, same) for s in (a, b)))
    return Parity(equal, gap)


def common(a: Sample, b: Sample) -> int:
    """How many ids from the first on are equal."""
    pairs = zip(a.ids, b.ids, strict=False)
    return next((place for place, (x, y) in enumerate(pairs) if x != y), min(len(a.ids), len(b.ids)))


def at(sample: Sample, place: int) -> str:
    part = slice(place, place + 1)
    return f"{sample.ids[part]} with logprob {sample.logprobs[part]}"


def prompts(
    checkpoint: Checkpoint, each: int, tokens: int, counts: Sequence[int] = PICTURES, seed: int = 0
) -> list[Request]:
    """Greedy requests with random text around random pictures, the same for a seed."""
    chance = random.Random(seed)
    return [request(checkpoint, count, tokens, chance) for count in counts for _ in range(each)]


def request(checkpoint: Checkpoint, pictures: int, tokens: int, chance: random.Random) -> Request:
    known: dict[str, Image.Image] = {}
    shown: list[Shown] = []
    ids = [checkpoint.token("<|im_start|>"), *said(checkpoint, "user\n", chance)]
    for _ in range(pictures):
        picture = drawn(checkpoint.profile.grid, chance)
        ref = picture_ref(picture)
        known[ref] = picture
        patch = checkpoint.patch
        shown.append(Shown(ref, (1, picture.height // patch, picture.width // patch)))
        vision = (
            checkpoint.token("<|vision_start|>"),
            checkpoint.image_token,
            checkpoint.token("<|vision_end|>"),
        )
        ids += [*vision, *said(checkpoint, " ", chance)]
    ids += [checkpoint.token("<|im_end|>"), *said(checkpoint, "\n", chance)]
    sampling = Sampling(max_tokens=tokens)
    return Request(tuple(ids), tuple(shown), known.__getitem__, sampling)


def said(checkpoint: Checkpoint, start: str, chance: random.Random) -> list[int]:
    words = " ".join(chance.choice(["frame", "at 3.5 s", "[v2]", "what?", "ünïcode"]) for _ in range(4))
    return list(checkpoint.tokenizer.encode(start + words, add_special_tokens=False).ids)


def drawn(grid: int, chance: random.Random) -> Image.Image:
    """Noise with a line of text on a plate, of 2 to 12 by 2 to 8 cells."""
    width, height = chance.randint(2, 12) * grid, chance.randint(2, 8) * grid
    noise = np.random.default_rng(chance.getrandbits(32)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    pen = ImageDraw.Draw(picture)
    pen.rectangle([4, 4, width // 2, 20], fill="white")
    pen.text((6, 6), str(chance.random()), fill="black")
    return picture


if __name__ == "__main__":
    main()
