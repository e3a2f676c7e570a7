"""Rollouts of a random model that look: its replies are dictated while it says what it thinks of each token.

A script is chosen by chance for the first turn, and held to afterwards; logprobs are the model's own, as if
it had sampled the very tokens."""

from random import Random
from typing import Any

from r4agent.engines import Checkpoint, cpu
from r4agent.engines.chatml import END
from r4agent.engines.decode import Row, draw
from r4agent.engines.local import VllmEngine
from r4agent.engines.request import Request

from .conftest import SCRIPTS

ASKED = "<|im_start|>assistant\n"


def fitting(prompt: str) -> list[str]:
    """What may be said next: of each script that was followed so far, its next reply."""
    turn = prompt.count(ASKED) - 1
    said = [part.split(END)[0] for part in prompt.split(ASKED)[1:-1]]
    return [script[turn] for script in SCRIPTS if list(script[:turn]) == said and len(script) > turn]


class Dictated:
    """In place of `r4agent.engines.decode.draw`."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.tokenizer, self.end = checkpoint.tokenizer, checkpoint.token(END)
        self._left: dict[int, list[int]] = {}

    def __call__(self, logits: Any, rows: list[Row], banned: list[int]) -> tuple[Any, Any]:
        tokens, _ = draw(logits, rows, banned)
        for place, row in enumerate(rows):
            tokens[place] = self._next(row)
        return tokens, logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]

    def _next(self, row: Row) -> int:
        if not self._left.get(id(row)):
            prompt = self.tokenizer.decode(list(row.prompt), skip_special_tokens=False)
            said = row.chance.choice(fitting(prompt))
            self._left[id(row)] = [*self.tokenizer.encode(said, add_special_tokens=False).ids, self.end]
        return self._left[id(row)].pop(0)


class DictatedVllm(VllmEngine):
    """vLLM, held to the scripts while it `dictates`: by a logits processor, which raw logprobs don't know of,
    as they would of a grammar."""

    dictates = True

    def __init__(self, checkpoint: Checkpoint, **engine_args: Any) -> None:
        super().__init__(checkpoint, logits_processors=[_only_what_is_said()], **engine_args)

    def _sampling(self, request: Request) -> Any:
        params = super()._sampling(request)
        if self.dictates:
            prompt = self.checkpoint.tokenizer.decode(list(request.ids), skip_special_tokens=False)
            said = Random(request.sampling.seed).choice(fitting(prompt))
            ids = self.checkpoint.tokenizer.encode(said, add_special_tokens=False).ids
            params.extra_args = {"said": [*ids, self.checkpoint.token(END)]}
        return params


def _only_what_is_said() -> type:
    cpu.prepare()
    from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

    class Only(AdapterLogitsProcessor):  # type: ignore[misc]
        def is_argmax_invariant(self) -> bool:
            return False

        def new_req_logits_processor(self, params: Any) -> Any:
            said = (params.extra_args or {}).get("said")

            def only(before: list[int], logits: Any) -> Any:
                kept = logits[said[len(before)]].clone()
                logits[:] = -float("inf")
                logits[said[len(before)]] = kept
                return logits

            return only if said else None

    return Only
