"""Engines: what runs a policy's model. Tokens and pictures in, tokens and logprobs out.

    vllm           in this process, or a process of its own beside it   r4agent.engines.local
    http           a `vllm serve` elsewhere                             r4agent.engines.server
    transformers   for training, and machines without vLLM              r4agent.engines.hf

Promises: the same request means the same to each; none changes a picture's size or a prompt's tokens.
Does not: know messages. `r4agent.policy.chat` does.
"""

import atexit
import inspect
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from r4agent.engines.checkpoint import Checkpoint
from r4agent.engines.request import Engine, Request, Sample, Sampling, Shown
from r4agent.errors import UsageError

__all__ = ["ENGINES", "Checkpoint", "Engine", "Request", "Sample", "Sampling", "Shown", "open_engine"]

ENGINES = ("vllm", "http", "transformers")


def open_engine(
    name: str, model: str, *, base_url: str | None, api_key: str | None, **arguments: Any
) -> Engine:
    """The engine of this name for a model; one for all who ask for the same, as its weights are large,
    until it is closed."""
    if name not in ENGINES:
        raise UsageError(f"engine {name!r}: there are {', '.join(ENGINES)}")
    if (name == "http") != bool(base_url):
        raise UsageError("engine http and base_url go together: give both, or neither")
    checkpoint = Checkpoint.load(model)
    key = (name, checkpoint, base_url, api_key, json.dumps(arguments, sort_keys=True, default=repr))
    with _opening:
        engine = _open.get(key)
        begins = engine is None or (engine.done() and engine.result().closed)
        if engine is None or begins:
            engine = _open[key] = Future()
    if begins:  # the others wait for it, and learn why it failed; whoever comes later tries again
        try:
            with _starting:
                started = _started(name, checkpoint, base_url, api_key, arguments)
            atexit.register(started.close)
            engine.set_result(started)
        except BaseException as error:
            with _opening:
                del _open[key]
            engine.set_exception(error)
    return engine.result()


_opening = threading.Lock()
_starting = threading.Lock()  # one after the other: a start sets the environment, and takes memory
_open: dict[Any, Future[Engine]] = {}


def _started(
    name: str, checkpoint: Checkpoint, base_url: str | None, api_key: str | None, more: dict[str, Any]
) -> Engine:
    match name:
        case "vllm":
            from r4agent.engines.local import VllmEngine

            return _made(VllmEngine, checkpoint, **more)
        case "transformers":
            from r4agent.engines.hf import TransformersEngine

            return _made(TransformersEngine, checkpoint, **more)
        case _:
            from r4agent.engines.server import ServerEngine

            return _made(ServerEngine, checkpoint, base_url, api_key=api_key, **more)


def _made(engine: Callable[..., Engine], *given: Any, **more: Any) -> Engine:
    try:
        inspect.signature(engine).bind(*given, **more)
    except TypeError as error:
        raise UsageError(f"engine_args: {error}; see {getattr(engine, '__name__', engine)}") from error
    return engine(*given, **more)
