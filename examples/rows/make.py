"""Makes sft.jsonl and rl.jsonl, the samples of docs/episodes.md: one taught episode; one question that was
not asked yet, and a rollout of another with its rewards.

    python examples/rows/make.py

The model is a tiny random one: its rollout is noise, sampled at temperature 1, with the logprobs it had. Its
tokenizer is one of bytes.
"""

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from r4agent import Budget, ChatR4, Episode, Item, MediaStore, create_rumination_graph
from r4agent.engines.tiny import make_tiny
from r4agent.evaluation import of_textworld
from r4agent.evaluation.questions import media_of
from r4agent.training.export import to_dataset
from r4agent.training.rowfile import save
from r4agent.training.scoring import Rewards
from r4agent.training.store import EpisodeStore, Stored
from r4agent.training.trajectories import trajectories

HERE = Path(__file__).parent
SMALL = Budget(turns=2, overview_images=2, overview_tokens=16, picture_tokens=64)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["R4_HOME"] = name  # where clips are made
        model, pictures = make_tiny("qwen2_5_vl", folder / "tiny"), MediaStore(folder / "pictures")
        taught = one_taught(str(model), folder, pictures)
        asked, other = of_textworld(0, 2, 8).items
        rolled = one_rollout(str(model), folder, pictures, asked)
        save(to_dataset([homeless(taught, "taught", folder)], pictures), HERE / "sft.jsonl")
        save(to_dataset([other, homeless(rolled, "rollout", folder)], pictures), HERE / "rl.jsonl")


def one_taught(model: str, folder: Path, pictures: MediaStore) -> Stored:
    """An episode of the text world's teacher."""
    store = EpisodeStore(folder / "store")
    large = Budget(turns=4, overview_images=4, overview_tokens=16, picture_tokens=512)
    trajectories(of_textworld(0, 4, 7), model, store, "deliberate", budget=large, store=pictures)
    return next(store.select())


def one_rollout(model: str, folder: Path, pictures: MediaStore, item: Item) -> Stored:
    """What the random model says to a question, and what it is paid."""
    policy = ChatR4(model=model, engine="transformers", temperature=1.0, max_tokens=12, seed=0)
    graph = create_rumination_graph(policy, budget=SMALL, store=pictures, episodes=folder / "episodes")
    done = graph.invoke({"media": media_of(item, folder), "question": item.question})
    episode = Episode.read(done["episode"])
    [paid] = Rewards.of({"accuracy": 1.0, "format": 0.1}).score([episode], item)
    return Stored(episode, "rl-d", item, paid)


def homeless(stored: Stored, ident: str, folder: Path) -> Stored:
    """The episode under a name, without this machine's paths."""
    text = json.dumps(stored.episode.lines).replace(str(folder), "/data")
    header, *lines = json.loads(text.replace(stored.episode.id, ident))
    episode = Episode.of([header, *lines], Path(f"{ident}.jsonl"), Episode.read)
    return replace(stored, episode=episode)


if __name__ == "__main__":
    main()
