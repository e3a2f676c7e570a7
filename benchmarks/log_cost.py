"""What the log costs: bytes an episode, and time.

    python benchmarks/log_cost.py [--runs 3] [--hidden 128] [--layers 2]

Episodes of 4, 8 and 16 turns, each of which zooms and answers last, through the real graph, ChatR4 and the
transformers engine, on a random Qwen2.5-VL whose replies are dictated, so that each turn has a picture. The
tokenizer is one of bytes: a text takes about four times the tokens that Qwen's takes. Then the same with no
model at all, replies being put in its place: what is left is decoding, the graph and the log.
Ends with one line of JSON:
    bytes_ratio          bytes of log a turn in an episode of 16 turns, over the same in one of 4: at most 1
                         when the log is linear in turns; below 1, as header and prompt are written once
    time_share           seconds spent logging over seconds of a run of 16 turns, with the model
    slope_ratio          bytes of log that a turn adds from 8 to 16 turns, over the same from 4 to 8: 1 when
                         linear
    over_content         bytes of an episode of 16 turns, log and pictures, over those of what it must hold:
                         its unique pictures as PNG, its tokens at 4 bytes an id and 4 a sampled logprob
    bytes_a_token        of log, of an episode of 16 turns; pictures are one token each
    bytes_a_picture      on disk, of a unique picture
    no_model_time_share  time_share without the model
    store_ms             milliseconds to add an episode of 16 turns to an episode store
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from r4agent import Budget, ChatR4, Episode, MediaStore, create_rumination_graph
from r4agent.engines import Checkpoint, decode
from r4agent.engines.chatml import END
from r4agent.engines.tiny import make_tiny
from r4agent.graphs.journal import Journal, Journals
from r4agent.textworld.writer import clip_file
from r4agent.training.rows import Row
from r4agent.training.store import EpisodeStore
from r4agent.training.teacher import Teacher

TURNS = (4, 8, 16)


@dataclass
class Run:
    """An episode, seconds of its run, and of these how many were spent on the log."""

    episode: Episode
    seconds: float
    logging: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="of each kind")
    parser.add_argument("--hidden", type=int, default=128, help="of the model")
    parser.add_argument("--layers", type=int, default=2, help="of the model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), hidden=options.hidden, layers=options.layers)
        bench.run(TURNS[0], model=True)  # to warm up
        print(f"{'turns':>5} {'log kB':>7} {'kB a turn':>10} {'tokens':>7} {'pictures':>9} {'unique':>7}")
        sizes = {turns: bench.size(turns) for turns in TURNS}
        print(f"\n{'model':>6} {'seconds':>8} {'of which logging':>17}")
        shares = {model: bench.share(model, options.runs) for model in (True, False)}
        found = bench.content(TURNS[-1]) | {"store_ms": bench.store_ms(20 * options.runs)}
    few, some, many = (sizes[turns] for turns in TURNS)
    head = {
        "bytes_ratio": (many / TURNS[2]) / (few / TURNS[0]),
        "time_share": shares[True],
        "slope_ratio": (many - some) / (TURNS[2] - TURNS[1]) / ((some - few) / (TURNS[1] - TURNS[0])),
        "no_model_time_share": shares[False],
    }
    print(json.dumps({key: round(value, 4) for key, value in (head | found).items()}))


class Bench:
    """A clip, a model and a store of pictures, for many runs."""

    def __init__(self, folder: Path, *, hidden: int, layers: int) -> None:
        self.folder = folder
        self.model = make_tiny("qwen2_5_vl", folder / "model", hidden=hidden, layers=layers)
        self.clip, _ = clip_file(0, 1, folder)
        self.pictures = MediaStore(folder / "pictures")
        self._runs: dict[int, Run] = {}

    def run(self, turns: int, *, model: bool) -> Run:
        """One episode of so many turns, its pictures made anew."""
        checkpoint = Checkpoint.load(self.model)
        said = replies(turns)
        with ExitStack() as stack:
            policy: ChatR4
            if model:
                policy = ChatR4(model=str(self.model), engine="transformers", temperature=1.0)
                stack.enter_context(mock.patch.object(decode, "draw", Dictated(checkpoint, said)))
            else:
                policy = Teacher(model=str(self.model), plan=Plan(said))
            graph = create_rumination_graph(
                policy,
                budget=Budget(turns=turns, new_tokens=100_000),
                store=self.pictures,
                episodes=self.folder / "episodes",
            )
            timer = stack.enter_context(timed())
            started = time.perf_counter()
            result = graph.invoke({"media": str(self.clip), "question": "What is written there?"})
            seconds = time.perf_counter() - started
        assert result["answer"] == "42"
        return Run(Episode.read(result["episode"]), seconds, timer.seconds)

    def size(self, turns: int) -> int:
        """Bytes of the log of an episode."""
        run = self._runs[turns] = self.run(turns, model=True)
        size = run.episode.path.stat().st_size
        row = Row.of(run.episode)
        assert max(row.turns) == turns
        shown, unique = len(row.images), len(set(row.images))
        print(f"{turns:5} {size / 1e3:7.1f} {size / turns / 1e3:10.2f} {len(row.ids):7} {shown:9} {unique:7}")
        return size

    def share(self, model: bool, runs: int) -> float:
        """Time spent logging as a share of the longest run: the median of several."""
        done = [self.run(TURNS[-1], model=model) for _ in range(runs)]
        share = statistics.median(run.logging / run.seconds for run in done)
        seconds, logging = (
            statistics.median(getattr(run, of) for run in done) for of in ("seconds", "logging")
        )
        print(f"{'yes' if model else 'no':>6} {seconds:8.2f} {logging:10.3f} {share:6.2%}", flush=True)
        return share

    def content(self, turns: int) -> dict[str, float]:
        """Bytes of an episode against what it must hold."""
        episode = self._runs[turns].episode
        row, log = Row.of(episode), episode.path.stat().st_size
        unique = set(row.images)
        pictures = sum(self.pictures.path(ref).stat().st_size for ref in unique)
        tokens = 4 * len(row.ids) + 4 * sum(turn > 0 for turn in row.turns)
        return {
            "over_content": (log + pictures) / (tokens + pictures),
            "bytes_a_token": log / len(row.ids),
            "bytes_a_picture": pictures / len(unique),
        }

    def store_ms(self, episodes: int) -> float:
        """To add the longest episode to a store, under many names."""
        store = EpisodeStore(self.folder / "store")
        whole = self._runs[TURNS[-1]].episode
        named = [replace(whole, header=whole.header | {"id": f"e{n}"}) for n in range(episodes)]
        with mock.patch.dict("os.environ", R4_HOME=str(self.folder)):
            started = time.perf_counter()
            for episode in named:
                store.add(episode)
            return 1000 * (time.perf_counter() - started) / episodes


def replies(turns: int) -> list[str]:
    """Zooms into one overview picture after the other, then an answer."""
    calls = [
        {"name": "zoom", "arguments": {"view": f"v{n % 8 + 1}", "box": [10 + n, 10, 210 + n, 110]}}
        for n in range(turns - 1)
    ]
    thought = "<think>Too small to read there. I look closer.</think>"
    said = [f"{thought}<tool_call>{json.dumps(call)}</tool_call>" for call in calls]
    return [*said, '<evidence>{"view": "v9"}</evidence><answer>42</answer>']


class Plan:
    """For a Teacher: the replies in turn."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def __call__(self, messages: Any) -> str:
        return self.said[sum(message.type == "ai" for message in messages)]


class Dictated:
    """In place of `draw`: the model computes every token, and the next of the reply is taken."""

    def __init__(self, checkpoint: Checkpoint, said: list[str]) -> None:
        self.start = checkpoint.token("<|im_start|>")
        end = checkpoint.token(END)
        self.said = [[*checkpoint.tokenizer.encode(text).ids, end] for text in said]
        self._at: dict[int, Iterator[int]] = {}

    def __call__(self, logits: Any, rows: Any, banned: list[int]) -> tuple[Any, Any]:
        import torch

        tokens = torch.tensor([next(self._reply(row)) for row in rows])
        return tokens, logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]

    def _reply(self, row: Any) -> Iterator[int]:
        turn = list(row.prompt).count(self.start) // 2 - 1  # system, then user and assistant in turn
        return self._at.setdefault(turn, iter(self.said[turn]))


@dataclass
class Timer:
    """Seconds spent in what it wraps; a call within another counts once."""

    seconds: float = 0.0
    depth: int = 0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.depth += 1
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.depth -= 1
                if not self.depth:
                    self.seconds += time.perf_counter() - started

        return wrapped


@contextmanager
def timed() -> Iterator[Timer]:
    """All that the graph does for its log: spelling messages, naming them, reading and writing lines."""
    timer = Timer()
    places = [(Journals, "open"), *((Journal, name) for name in ("recall", "add", "note", "refuse", "end"))]
    with ExitStack() as stack:
        for owner, name in places:
            stack.enter_context(mock.patch.object(owner, name, timer.wrap(getattr(owner, name))))
        yield timer


if __name__ == "__main__":
    main()
