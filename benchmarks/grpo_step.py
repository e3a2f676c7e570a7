"""A GRPO step through the graph, beside one through TRL's own `environment_factory`: same model, batch,
pictures, tokens and machine, in turn.

    python benchmarks/grpo_step.py [--steps 6] [--hidden 128] [--layers 2]

A step is: a group of rollouts (overview, a zoom, an answer), their rewards, one update. Rollouts are sampled
by transformers from the model that is trained. What is said is dictated token by token in both, since a
random model never calls a tool; the model still computes every token. TRL's environment shows the same
pictures, cut from a clip that stays open; its prompt and observation are filled up to the graph's tokens.

wall_ratio: median seconds of a step through the graph, over TRL's. max_logprob_gap: the largest difference
between a sampled token's logprob in the rollout and in the trainer, over all steps, ours; trl_logprob_gap is
theirs, from the logits of their rollouts. The last line is JSON.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from r4agent import Budget, MediaStore
from r4agent.engines import Checkpoint
from r4agent.engines.chatml import END, START
from r4agent.engines.decode import Row, draw
from r4agent.engines.tiny import make_tiny
from r4agent.item import Item
from r4agent.media import open_source
from r4agent.media.view import View
from r4agent.textworld.writer import clip_file
from r4agent.training import weights
from r4agent.training.backend import Dataset, torch
from r4agent.training.batches import Group
from r4agent.training.graph_trainer import GraphTrainer, GRPOConfig, GRPOTrainer
from r4agent.training.grpo import config_of
from r4agent.training.rollout import Rollouts
from r4agent.training.rows import Row as Trajectory
from r4agent.training.sampler import sampler
from r4agent.training.sft import usual

CALL = '<tool_call>\n{"name": "zoom", "arguments": {"view": "v1", "box": [10, 10, 120, 90]}}\n</tool_call>'
SAID = (CALL, "<answer>42</answer>")
GROUP = 8
BUDGET = Budget(turns=3, overview_images=2, overview_tokens=64, picture_tokens=64)
SETTINGS = {
    "num_generations": GROUP,
    "per_device_train_batch_size": GROUP,
    "learning_rate": 1e-4,
    "gradient_checkpointing": False,
    "save_strategy": "no",
    "max_steps": 1000,
}


class ByPlace:
    """Rewards that differ, so that every rollout weighs."""

    weights = {"place": 1.0}  # noqa: RUF012

    def score(self, group: Sequence[Any], item: Item) -> list[dict[str, float | None]]:
        return [{"place": float(place)} for place in range(len(group))]


class Ours:
    """Steps through the graph."""

    def __init__(self, checkpoint: Checkpoint, item: Item, folder: Path) -> None:
        store = MediaStore(folder / "pictures")
        self.trainer = GraphTrainer(
            checkpoint=checkpoint,
            store=store,
            weights=ByPlace.weights,
            model=weights.load(checkpoint),
            args=config_of(SETTINGS, folder / "ours", "float32"),
            train_dataset=Dataset.from_dict({"place": [0]}),
        )
        self.engine = sampler("transformers", self.trainer, {"dtype": "float32"})
        engine, refresh = self.engine.__enter__()
        rollouts = Rollouts(engine, store, folder=folder / "logs", budget=BUDGET, refresh=refresh)
        group = Group(GROUP, ByPlace())
        self.trainer.roll = lambda places, step: group.batch(rollouts([item] * len(places), step))
        self.said = [
            [*checkpoint.tokenizer.encode(text, add_special_tokens=False).ids, checkpoint.token(END)]
            for text in SAID
        ]
        self.start = checkpoint.token(START)
        self._done: dict[int, int] = {}

    def step(self) -> float:
        with mock.patch("r4agent.engines.decode.draw", self._dictated):
            self._done = {}
            _step(self.trainer, [{"place": 0}] * GROUP)
        return max(self.trainer._metrics["train"]["logprob_gap/max"])

    def _dictated(self, logits: Any, rows: Sequence[Row], banned: Sequence[int]) -> tuple[Any, Any]:
        tokens, _ = draw(logits, rows, banned)
        for place, row in enumerate(rows):
            at = self._done[id(row)] = self._done.get(id(row), -1) + 1
            tokens[place] = self.said[row.prompt.count(self.start) // 2 - 1][at]
        return tokens, logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]


class Clip:
    """TRL's environment: the same overview and the same zoom, of a clip that stays open."""

    views: tuple[View, ...]  # the overview, then what the zoom brings
    texts: tuple[str, ...]  # the user's message, then the observation
    frame: Callable[[int], Any]

    def reset(self, **_: Any) -> list[dict[str, Any]]:
        pictures = [self._shown(view) for view in self.views[:-1]]
        return [*pictures, {"type": "text", "text": self.texts[0]}]

    def zoom(self, view: str, box: list[float]) -> list[dict[str, Any]]:
        """Look at a region of a picture.

        Args:
            view: the picture's name
            box: left, top, right and bottom, in its pixels
        """
        return [self._shown(self.views[-1]), {"type": "text", "text": self.texts[1]}]

    def _shown(self, view: View) -> dict[str, Any]:
        return {"type": "image", "image": view.cut(type(self).frame(view.frame).image)}


class Theirs:
    """Steps through TRL's environment_factory. like: a trajectory of ours, and its pictures' Views."""

    def __init__(
        self, checkpoint: Checkpoint, item: Item, folder: Path, like: Trajectory, views: Sequence[View]
    ) -> None:
        from transformers import AutoProcessor
        from trl.chat_template_utils import qwen3_vl_chat_template

        processor = AutoProcessor.from_pretrained(checkpoint.folder)
        processor.chat_template = processor.tokenizer.chat_template = qwen3_vl_chat_template
        Clip.views, Clip.texts = tuple(views), ("", "")
        Clip.frame = staticmethod(open_source(item.media).frame)
        settings = SETTINGS | {"max_completion_length": 4096, "beta": 0.0, "scale_rewards": "none"}
        ours = {"output_dir": str(folder / "theirs"), "remove_unused_columns": False}
        self.trainer = GRPOTrainer(
            model=weights.load(checkpoint),
            args=GRPOConfig(**usual("float32"), **settings, **ours),
            reward_funcs=lambda completions, **_: [float(place) for place in range(len(completions))],
            train_dataset=Dataset.from_dict({"place": [0]}),
            processing_class=processor,
            environment_factory=Clip,
        )
        self.checkpoint = checkpoint
        self.prompt = [{"role": "system", "content": ""}, {"role": "user", "content": ""}]
        self.said = [processor.tokenizer(text)["input_ids"] + [checkpoint.token(END)] for text in SAID]
        self.generate = self.trainer.model.generate
        self.trainer.model.generate = self._dictated
        self._turn, self._logprobs = 0, []
        self._fill_up(like)

    def step(self) -> float:
        self._turn, self._logprobs = 0, []
        with mock.patch.object(self.trainer, "_get_per_token_logps_and_entropies", self._watched):
            _step(self.trainer, [{"prompt": [dict(part) for part in self.prompt]} for _ in range(GROUP)])
        sampled = torch.cat(self._logprobs, 1)
        return float((sampled - self._trained).abs().max())

    def _dictated(self, **given: Any) -> Any:
        from transformers import LogitsProcessorList

        said, start = self.said[self._turn], given["input_ids"].shape[1]
        self._turn += 1

        def only(ids: Any, scores: Any) -> Any:
            kept = torch.full_like(scores, -float("inf"))
            kept[:, said[ids.shape[1] - start]] = 0.0
            return kept

        made = self.generate(
            **given,
            logits_processor=LogitsProcessorList([only]),
            return_dict_in_generate=True,
            output_logits=True,
        )
        logits = torch.stack(made.logits, 1).float().log_softmax(-1)
        self._logprobs.append(logits.gather(2, made.sequences[:, start:, None])[..., 0])
        return made.sequences

    def _watched(
        self, model: Any, input_ids: Any, attention_mask: Any, keep: int, *more: Any, **named: Any
    ) -> Any:
        found = GRPOTrainer._get_per_token_logps_and_entropies(
            self.trainer, model, input_ids, attention_mask, keep, *more, **named
        )
        said = torch.tensor([len(ids) for ids in self.said])
        logps = found[0].detach()
        self._trained = torch.cat([logps[:, : said[0]], logps[:, logps.shape[1] - said[1] :]], 1)
        return found

    def _fill_up(self, like: Trajectory) -> None:
        """As many tokens in the prompt and in the observation as the graph has: a byte is a token."""
        from r4agent.training.collator import expanded

        turns = expanded(like, self.checkpoint).turns
        first, second = turns.index(1), turns.index(2)
        observation = second - first - len(self.said[0])
        tokens = [len(ids) for ids in self._lengths()]
        Clip.texts = ("x" * (first - tokens[0]), "x" * (observation - tokens[1]))
        assert [len(ids) for ids in self._lengths()] == [first, observation]

    def _lengths(self) -> tuple[Any, Any]:
        clip = Clip()
        content = [{"type": "text", "text": ""}, *clip.reset()]
        trainer = self.trainer
        trainer._batch_environments = [None]
        (prompt,), *_ = trainer._tokenize_prompts([[self.prompt[0], {"role": "user", "content": content}]])
        seen = [{"role": "tool", "name": "zoom", "content": clip.zoom("v1", [])}]
        return prompt, trainer._get_tool_suffix_ids(seen)


def _step(trainer: Any, rows: list[dict[str, Any]]) -> None:
    """Rollouts, rewards and an update, as Trainer's loop has them."""
    if trainer.optimizer is None:
        trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    trainer._metrics["train"].clear()
    trainer.training_step(trainer.model, rows, None)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    trainer.state.global_step += 1


def measure(steps: int, hidden: int, layers: int, folder: Path) -> dict[str, float]:
    checkpoint = Checkpoint.load(make_tiny("qwen2_5_vl", folder / "model", hidden=hidden, layers=layers))
    clip, items = clip_file(0, 0, folder)
    item = items[0].model_copy(update={"media": str(clip)})
    ours = Ours(checkpoint, item, folder)
    ours.step()
    batch = ours.trainer._batch
    views = [picture.view for picture in batch.rollouts[0].episode.pictures]
    theirs = Theirs(checkpoint, item, folder, batch.rows[0], views)
    theirs.step()  # both are warm
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    gaps: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(steps):
        for name, side in (("ours", ours), ("theirs", theirs)):
            began = time.perf_counter()
            gaps[name].append(side.step())
            seconds[name].append(time.perf_counter() - began)
    ours.engine.__exit__(None, None, None)
    tokens = sum(turn > 0 for row in batch.rows for turn in row.turns)
    return {
        "wall_ratio": round(median(seconds["ours"]) / median(seconds["theirs"]), 3),
        "max_logprob_gap": max(gaps["ours"]),
        "trl_logprob_gap": max(gaps["theirs"]),
        "seconds": round(median(seconds["ours"]), 2),
        "trl_seconds": round(median(seconds["theirs"]), 2),
        "steps": steps,
        "rollouts": GROUP,
        "sampled_tokens": tokens,
        "tokens": sum(len(row.ids) for row in batch.rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=128, help="width of the model")
    parser.add_argument("--layers", type=int, default=2, help="its layers")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        print(json.dumps(measure(given.steps, given.hidden, given.layers, Path(folder))))


if __name__ == "__main__":
    main()
