"""Trains as `test_grpo.py` does and kills itself with SIGKILL: python killed_grpo.py ARGUMENTS_JSON

step: the one in which it dies. saving: whether it dies while that step's checkpoint is written, else after
its rollouts and before what they were worth is written down."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LEARN: dict[str, Any] = {
    "num_generations": 8,
    "per_device_train_batch_size": 8,
    "learning_rate": 3e-2,
    "lr_scheduler_type": "constant",
    "scale_rewards": "group",
    "gradient_checkpointing": False,
    "save_strategy": "no",
}


class LowTokens:
    """The share of a reply's tokens below 128: of a random model's, some 0.45."""

    weights = {"low": 1.0}  # noqa: RUF012

    def score(self, group: Sequence[Any], item: Any) -> list[dict[str, float | None]]:
        return [{"low": sum(t < 128 for t in ids) / len(ids)} for ids in map(sampled, group)]


def sampled(episode: Any) -> list[int]:
    """Every token that the policy said."""
    replies = [line for line in episode.messages if line["role"] == "ai"]
    return [token for reply in replies for token in reply["response_metadata"]["span"]["token_ids"]]


def train(model: str, items: list[dict[str, Any]], pictures: str, out: str, **more: Any) -> Path:
    """GRPO of one turn, on one small picture; a random model never answers, so those it cuts must weigh."""
    import torch

    torch.set_num_threads(1)
    from r4agent import Budget, Item, MediaStore
    from r4agent.training.grpo import grpo

    settings = LEARN | more.pop("settings", {})
    return grpo(
        model,
        [Item.model_validate(item) for item in items],
        MediaStore(pictures),
        out=Path(out),
        rewards=LowTokens(),
        settings=settings,
        **{
            "budget": Budget(turns=1, overview_images=1, overview_tokens=16),
            "max_tokens": 12,
            "mask_cut": False,
            **more,
        },
    )


def main() -> None:
    given = json.loads(sys.argv[1])
    step, saving = given.pop("step"), given.pop("saving")

    def die(number: int) -> None:
        if number == step:
            os.kill(os.getpid(), signal.SIGKILL)

    from r4agent.training import batches, checkpoints

    if saving:
        whole = checkpoints.mark
        checkpoints.mark = lambda folder: die(int(folder.name.split("-")[1])) or whole(folder)
    else:
        archive = batches.Archive.note
        batches.Archive.note = lambda self, batch, number: die(number) or archive(self, batch, number)
    train(**given)


if __name__ == "__main__":
    main()
