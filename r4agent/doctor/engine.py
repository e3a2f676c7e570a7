"""What there is to say of an engine that runs.

Promises: a server is asked; of an engine in this process it is known.
Does not: make requests of the model (`r4agent.doctor.model`).
"""

from importlib.metadata import version
from typing import TYPE_CHECKING

from r4agent.budget import Budget
from r4agent.engines import Engine
from r4agent.engines.wire import GENERATE
from r4agent.policy.chat import ChatR4

if TYPE_CHECKING:
    from r4agent.engines.server import ServerEngine


def describe(engine: Engine) -> str:
    """The engine and its version, once it runs. Raises what a server has against us."""
    match engine.name:
        case "http":
            server = _server(engine)
            served = server.served()
            others = f", one of {len(served.models)}" if len(served.models) > 1 else ""
            return f"{server.url}: {_vllm_at(server.url)} serves {served.model}{others} at {GENERATE}"
        case "vllm":
            import vllm

            return f"vLLM {vllm.__version__} in this process"
        case "transformers":
            return f"transformers {version('transformers')} with torch {version('torch')}"
    return engine.name


def _vllm_at(url: str) -> str:
    """What the server says of itself; it need not."""
    import httpx

    try:
        return f"vLLM {httpx.get(f'{url}/version', timeout=10).json()['version']}"
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return "a vLLM of unknown version"


def context_of(engine: Engine) -> int:
    """The most tokens of a prompt and its reply that the engine takes."""
    if engine.name == "http":
        return _server(engine).served().context or engine.checkpoint.context
    return int(getattr(engine, "context", engine.checkpoint.context))


def for_more(model: ChatR4, budget: Budget, need: int) -> str:
    """What to change where a run of this budget needs a context of `need` tokens."""
    takes, could = context_of(model.runner), min(need, model.checkpoint.context)
    settings = {"vllm": "give --model-arg max_model_len=", "http": "start the server with --max-model-len "}
    longer = settings.get(model._engine_name, "")
    if longer and could == need:
        return f"{longer}{need}, or {_smaller(budget, need - takes)}"
    if longer and takes < could:
        return f"{longer}{could} and {_smaller(budget, need - could)}"
    return _smaller(budget, need - takes)


def _smaller(budget: Budget, excess: int) -> str:
    """A budget of fewer image tokens, if the overview still fits."""
    pictures = budget.image_tokens - excess
    if pictures < budget.overview_images * budget.overview_tokens:
        return "lower --budget image_tokens=N and --budget new_tokens=N"
    return f"--budget image_tokens={pictures}"


def _server(engine: Engine) -> "ServerEngine":
    from r4agent.engines.server import ServerEngine  # needs the extra `server`

    assert isinstance(engine, ServerEngine)
    return engine
