"""What loop_efficiency.py and reuse.py share: a real engine whose replies are decided beforehand, so that a
random model can hold a conversation, and many such conversations at once.

Promises: vLLM computes every token as always; a grammar that allows one text leaves it no choice. The first
turn of every conversation gets the first reply, and so on. What was asked is kept, by episode.
Does not: change prompts, pictures or logprobs.
"""

import asyncio
import contextvars
import re
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from PIL import Image

from r4agent import Budget, MediaStore, create_rumination_graph
from r4agent.engines import Checkpoint
from r4agent.engines.local import VllmEngine
from r4agent.engines.request import Request, Sample, Tokens
from r4agent.engines.tiny import make_tiny
from r4agent.media import Source, open_source
from r4agent.policy.chat import ChatR4
from r4agent.textworld import make_clip
from r4agent.textworld.writer import encode

REPLIES = (
    '<tool_call>{"name": "select_frames", "arguments": {"frames": [30]}}</tool_call>',
    '<tool_call>{"name": "zoom", "arguments": {"view": "v1", "box": [10, 10, 120, 90]}}</tool_call>',
    '<tool_call>{"name": "re_encode", "arguments": {"view": "v2", "detail": "high"}}</tool_call>',
    "<answer>42</answer>",
)
TURNS = len(REPLIES)

_episode: contextvars.ContextVar[int] = contextvars.ContextVar("episode", default=0)


class Steered(VllmEngine):
    """Says `REPLIES` in turn. asked: the requests of each episode. media_ids: whether a picture goes by its
    hash, and its pixels once; without, they go with every request, as other clients of vLLM send them.
    loads: how many pictures' pixels were handed over."""

    asked: dict[int, list[Request]]
    media_ids: bool = True
    loads: int = 0

    def submit(self, request: Request, on_tokens: Tokens | None = None) -> "Future[Sample]":
        self.asked.setdefault(_episode.get(), []).append(request)
        return super().submit(request, on_tokens)

    def forget(self) -> None:
        """Empty vLLM's caches, so that the next run begins as the first did."""
        self.asked = {}

        def clear() -> None:
            self.llm.llm_engine.reset_encoder_cache()
            self.llm.llm_engine.reset_mm_cache()
            self.llm.reset_prefix_cache()
            self._known.clear()

        self.call(clear)

    def pictures_processed(self) -> int:
        """How often vLLM's image processor ran on a picture since this was last asked, by its own count."""
        stats = self.call(self.llm.llm_engine.renderer.stat_mm_cache)
        return int(stats.queries - stats.hits)

    def _sampling(self, request: Request) -> Any:
        from vllm.sampling_params import StructuredOutputsParams

        params = super()._sampling(request)
        begun = request.ids.count(self.checkpoint.token("<|im_start|>"))  # system, then user and assistant
        only = re.escape(REPLIES[begun // 2 - 1]).replace("\\ ", " ")  # the grammar knows no escaped space
        params.structured_outputs = StructuredOutputsParams(regex=only)
        return params

    def _send(self, request: Request, known: Collection[str]) -> str:
        def load(ref: str) -> Image.Image:
            self.loads += 1
            return request.load(ref)

        return super()._send(replace(request, load=load), known if self.media_ids else ())

    def _rendered(self, prompt: dict[str, Any]) -> Any:
        if not self.media_ids:
            prompt.pop("multi_modal_uuids", None)
        return super()._rendered(prompt)


class Crowd:
    """Many episodes at once, each with a clip of its own, on one steered engine."""

    def __init__(self, folder: Path, episodes: int, *, hidden: int, layers: int, own_process: bool) -> None:
        model = make_tiny("qwen2_5_vl", folder / "model", hidden=hidden, layers=layers)
        self.millions = sum(path.stat().st_size for path in model.glob("*.safetensors")) / 4e6
        self.clips = [_clip(folder, seed) for seed in range(episodes)]
        self.engine = Steered(
            Checkpoint.load(model),
            own_process=own_process,
            max_model_len=8192,
            max_num_seqs=episodes,
            dtype="float32",
            enforce_eager=True,
        )
        self.graph = create_rumination_graph(
            ChatR4(model=str(model), engine=self.engine, max_tokens=128),
            budget=Budget(overview_images=2),
            store=MediaStore(folder / "pictures"),
            episodes=folder / "episodes",
        )

    def run(self) -> list[dict[str, Any]]:
        """All episodes through the graph."""
        return asyncio.run(self._run())

    async def _run(self) -> list[dict[str, Any]]:
        async def one(number: int) -> dict[str, Any]:
            _episode.set(number)
            question = {"media": str(self.clips[number]), "question": "What is there?"}
            return await self.graph.ainvoke(question)

        tasks = [asyncio.create_task(one(number)) for number in range(len(self.clips))]
        results = await asyncio.gather(*tasks)
        assert all(result["answer"] == "42" for result in results)
        return results

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Every clip is open, and stays so, whoever opens and closes it: views that are made stay made."""
        with ExitStack() as stack:
            sources = {clip: stack.enter_context(open_source(clip)) for clip in self.clips}
            stack.enter_context(
                mock.patch("r4agent.graphs.sources.open_source", lambda path, **_: sources[Path(path)])
            )
            stack.enter_context(mock.patch.object(Source, "close"))
            yield


def _clip(folder: Path, seed: int) -> Path:
    path = folder / f"{seed}.mp4"
    encode(make_clip(level=0, seed=seed), path)
    return path
