"""The Teacher: a policy whose replies are dictated, in the student's own tokens.

    graph = create_rumination_graph(Teacher(model="runs/start", plan=plan), episodes="taught")

Promises: a reply is the plan's text, encoded by the student's tokenizer with special tokens off, and the end
of the turn; so a dictated episode has the same spans as a sampled one, and the graph, its tools and the log
are the real ones. Its engine is called "teacher" in the episode's header, and its logprobs are 0.0: rows of
it teach, and no ratio is ever formed with them.
Does not: need the student's weights, or look: a plan decides from what was shown.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field, SkipValidation

from r4agent.engines import Sample
from r4agent.engines.chatml import END
from r4agent.policy.chat import ChatR4
from r4agent.policy.turn import Turn
from r4agent.training.rows import SLIP, TEACHER

Plan = Callable[[Sequence[BaseMessage]], str]
"""From the conversation so far to the next reply."""


class Slip(str):
    """A reply that is wrong on purpose (`r4agent.training.slips`); the log says so."""


class Teacher(ChatR4):
    """ChatR4 for the checkpoint `model`, with a plan in place of an engine. One for each question."""

    plan: SkipValidation[Plan] = Field(exclude=True)
    engine: Any = TEACHER
    disable_streaming: bool = True  # a reply is there at once, or not at all

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        turn = Turn(self, messages, stop, kwargs)
        text = self.plan(messages)
        said = [*self.get_token_ids(text), self.checkpoint.token(END)]
        prompt = turn.chatml.expand(turn.ids, turn.pictures)
        sample = Sample(tuple(said), (0.0,) * len(said), "stop", tuple(prompt))
        reply = turn.reply(sample)
        if isinstance(text, Slip):
            reply.response_metadata[SLIP] = True
        return ChatResult(generations=[ChatGeneration(message=reply)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await asyncio.to_thread(self._generate, messages, stop, None, **kwargs)
