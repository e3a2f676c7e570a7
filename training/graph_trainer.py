"""GraphTrainer: TRL's GRPOTrainer whose completions are graph episodes.

Promises: what is trained on is the episodes' own ids, pictures and logprobs, each row checked before the
update; the trained tokens are exactly those that the policy sampled; the ratio of the loss is to the policy
that sampled, as its engine logged it; what does not weigh (`r4agent.training.groups`) is not in the loss's
normaliser either.
Does not: change TRL's loss, advantages, schedule or reporters.

It overrides private methods of TRL, and relies on what `tests/training/test_contract.py` lists.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from r4agent.engines import Checkpoint, Shown
from r4agent.engines.pixels import Pixels
from r4agent.errors import RunError
from r4agent.media.store import MediaStore
from r4agent.training.backend import ProcessorMixin, gather_object, torch
from r4agent.training.checks import check, check_inputs
from r4agent.training.collator import expanded
from r4agent.training.groups import Scored
from r4agent.training.rollout import Rollout
from r4agent.training.rows import Row
from r4agent.training.weights import tokenizer

with warnings.catch_warnings():  # of versions of vLLM, which TRL imports; ours is not driven by TRL
    warnings.simplefilter("ignore", UserWarning)
    from trl import GRPOConfig as GRPOConfig
    from trl import GRPOTrainer
    from trl.trainer.utils import RepeatSampler

Tensors = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one process learns from in one update. rows: of each rollout; where one failed, another's row
    stands in for it, and weighs nothing. measures: what the rollouts were like, by name."""

    rollouts: Sequence[Rollout]
    rows: Sequence[Row]
    scored: Scored
    measures: Mapping[str, float]


Roll = Callable[[Sequence[int], int], Batch]
"""From places in the data, each as often as its group is large, and the step that they are for."""


class Sight(ProcessorMixin):  # type: ignore[misc]
    """What TRL asks of a processor: a tokenizer, and the pixel values of a batch's pictures. These come from
    the checkpoint's own image processor, by way of `Pixels`; so torchvision isn't needed."""

    def __init__(self, checkpoint: Checkpoint, store: MediaStore) -> None:
        self.tokenizer = tokenizer(checkpoint)
        self.pixels, self.store = Pixels(checkpoint), store

    def image_processor(self, images: Sequence[Shown], return_tensors: str) -> Tensors:
        """pixel_values (patches of all pictures, values of a patch), image_grid_thw (pictures, 3)."""
        assert return_tensors == "pt"
        return {
            "pixel_values": torch.cat([self.pixels(shown, self.store.get) for shown in images]),
            "image_grid_thw": torch.tensor([shown.grid for shown in images]),
        }

    def save_pretrained(self, folder: str, **_: Any) -> None:
        """Nothing: `r4agent.training.weights.save` adds the checkpoint's own files."""


class Order(RepeatSampler):  # type: ignore[misc]
    """TRL's order of the data, but that of a later epoch doesn't hang on the epochs before, which a run that
    resumes hasn't drawn."""

    def set_epoch(self, epoch: int) -> None:
        if self.shuffle:
            self.generator.manual_seed(self.seed + epoch)


class GraphTrainer(GRPOTrainer):  # type: ignore[misc]
    """roll: makes the batches; is set after construction, since a live engine samples from this trainer's own
    model. weights: of the reward's terms. The other arguments are TRL's.

    `logprob_gap` of its log: between what the engine logged and what the trainer computes before it has
    learnt from the batch, over all sampled tokens; mean and max of the absolute difference.
    """

    def __init__(
        self, *, checkpoint: Checkpoint, store: MediaStore, weights: Mapping[str, float], **trl: Any
    ):
        super().__init__(
            processing_class=Sight(checkpoint, store),
            reward_funcs=[_named(term) for term in weights],
            **trl,
        )
        self.reward_weights = torch.tensor(list(weights.values()), dtype=torch.float32)
        self.tools = ["the graph's"]  # else TRL looks for pictures in prompts alone
        self.checkpoint, self.store = checkpoint, store
        self.roll: Roll
        self._batch: Batch
        self._logps: torch.Tensor

    def _get_train_sampler(self, dataset: Any = None) -> Order:
        return Order(
            data_source=self.train_dataset if dataset is None else dataset,
            mini_repeat_count=self.num_generations,
            batch_size=self.args.generation_batch_size // self.num_generations,
            repeat_count=self.num_iterations * self.args.steps_per_generation,
            shuffle=self.shuffle_dataset,
            seed=self.args.seed,
        )

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Tensors:
        self._batch = batch = self.roll([row["place"] for row in inputs], self.state.global_step + 1)
        for row in batch.rows:
            check(row, self.checkpoint, self.store, for_rl=True)
        asked = [{"prompt": rollout.item.question} for rollout in batch.rollouts]
        out: Tensors = super()._generate_and_score_completions(asked)
        if "pixel_values" not in out:  # where numbers don't match TRL goes on without pictures
            raise RunError(f"step {self.state.global_step + 1}: TRL left the pictures out; is it TRL 1.16?")
        whole = torch.cat([out["prompt_ids"], out["completion_ids"]], 1)
        check_inputs({"input_ids": whole, "pixel_values": out["pixel_values"]}, batch.rows, self.checkpoint)
        out["old_per_token_logps"] = out["sampling_per_token_logps"]
        out["sampled"] = out["completion_mask"] * out["tool_mask"]
        weighs = torch.tensor(batch.scored.weighs, device=out["tool_mask"].device)
        out["tool_mask"] = out["tool_mask"] * weighs[:, None]
        weighing = (out["completion_mask"] * out["tool_mask"]).sum()
        out["num_items_in_batch"] = self.accelerator.gather(weighing).sum()
        return out

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        """In TRL's words: prompt ids, completion ids, which of these were sampled, messages, logprobs, more,
        pictures, and pictures that came with observations: all of them, since they may stand anywhere."""
        rows = [expanded(row, self.checkpoint) for row in self._batch.rows]
        starts = [next(at for at, turn in enumerate(row.turns) if turn) for row in rows]
        self._count([len(row.ids) for row in rows])
        pictures = [
            [Shown(ref, grid) for ref, grid in zip(row.images, row.grids, strict=True)]
            for row in self._batch.rows
        ]
        return (
            [list(row.ids[:start]) for row, start in zip(rows, starts, strict=True)],
            [list(row.ids[start:]) for row, start in zip(rows, starts, strict=True)],
            [[int(turn > 0) for turn in row.turns[start:]] for row, start in zip(rows, starts, strict=True)],
            [[{"role": "assistant", "content": _said(rollout)}] for rollout in self._batch.rollouts],
            [list(row.logprobs[start:]) for row, start in zip(rows, starts, strict=True)],
            {},
            pictures,
            pictures,
        )

    def _count(self, lengths: list[int]) -> None:
        """Tokens seen, and what the rollouts were like, into TRL's log."""
        seen = torch.tensor(sum(lengths), device=self.accelerator.device)
        self.state.num_input_tokens_seen += int(self.accelerator.gather(seen).sum())
        metrics = self._metrics["train"]
        metrics["num_tokens"] = [self.state.num_input_tokens_seen]
        every = gather_object([dict(self._batch.measures)])  # a process may lack one: nobody looked, say
        for name in sorted({name for one in every for name in one}):
            metrics[name].append(fmean(one[name] for one in every if name in one))

    def _calculate_rewards(self, *_: Any) -> "torch.Tensor":
        """(rollouts of all processes, terms); nan where a rollout has no such term."""
        terms = [self._batch.scored.column(name) for name in self.reward_func_names]
        return self.accelerator.gather(torch.tensor(terms, device=self.accelerator.device).T.contiguous())

    def _get_per_token_logps_and_entropies(self, *given: Any, **named: Any) -> tuple[Any, ...]:
        found: tuple[Any, ...] = super()._get_per_token_logps_and_entropies(*given, **named)
        self._logps = found[0].detach()
        return found

    def _compute_loss(self, model: Any, inputs: Tensors) -> Any:
        inputs = trimmed(inputs)
        loss = super()._compute_loss(model, inputs)
        every = self.args.steps_per_generation * self.num_iterations
        if self._step % every < self.args.gradient_accumulation_steps:  # nothing is learnt from it yet
            gaps = (self._logps - inputs["sampling_per_token_logps"]).abs()[inputs["sampled"].bool()]
            metrics = self._metrics["train"]
            most = self.accelerator.gather(gaps.max()).max().item()
            metrics["logprob_gap/max"] = [max([most, *metrics["logprob_gap/max"]])]
            metrics["logprob_gap/mean"].append(self.accelerator.gather(gaps.mean()).mean().item())
        return loss


def trimmed(inputs: Tensors) -> Tensors:
    """A part of a batch without the columns that are padding in all its rows. TRL pads every part to the
    longest of the whole batch, and one rollout that wanders may be three times as long as the others."""
    prompts, completions = inputs["prompt_mask"], inputs["completion_mask"]
    first = prompts.shape[1] - int(prompts.sum(1).max())  # padded on the left
    stop = int(completions.sum(1).max())  # padded on the right
    of_prompt, wide = slice(first, None), completions.shape[1]
    of_row = slice(first, prompts.shape[1] + stop)
    parts = dict.fromkeys(("prompt_ids", "prompt_mask"), of_prompt)
    parts |= dict.fromkeys(("token_type_ids", "mm_token_type_ids"), of_row)
    parts |= {name: slice(stop) for name in PER_TOKEN if name in inputs and inputs[name].shape[-1] == wide}
    return inputs | {name: inputs[name][:, part] for name, part in parts.items() if name in inputs}


PER_TOKEN = (
    *("completion_ids", "completion_mask", "tool_mask", "sampled"),
    *("old_per_token_logps", "sampling_per_token_logps", "ref_per_token_logps", "importance_sampling_ratio"),
)
"""What has a column for each token of a completion."""


def _named(term: str) -> Callable[..., list[float]]:
    """TRL takes the names of rewards from functions; what they come to, `_calculate_rewards` says."""

    def reward(**_: Any) -> list[float]:
        raise NotImplementedError

    reward.__name__ = term
    return reward


def _said(rollout: Rollout) -> str:
    """A rollout's last words, for TRL's table of completions."""
    replies = [line for line in (rollout.episode.messages if rollout.episode else ()) if line["role"] == "ai"]
    return str(replies[-1]["content"]) if replies else rollout.error
