"""From what a user names as the policy to a chat model.

Promises: a chat model is taken as it is; `ocr` is the embedded reader, `nano` the small model that comes with
r4agent; `MODULE:NAME` is imported and, unless it is a chat model already, called without arguments to make
one.
Does not: guess. An unknown name is an error that lists what there is.
"""

import importlib
from typing import Any

from langchain_core.language_models import BaseChatModel

from r4agent.budget import Budget
from r4agent.errors import MissingError, RunError, UsageError, one_line
from r4agent.geometry import QWEN2_5_VL, ModelProfile
from r4agent.media.store import MediaStore, home
from r4agent.policy.pixels import seeing
from r4agent.reader import Reader


def resolve(
    policy: str | BaseChatModel,
    *,
    store: MediaStore,
    reader: Reader | None = None,
    profile: ModelProfile | None = None,
) -> BaseChatModel:
    """The chat model that `policy` names. store: where its pictures are. reader, profile: what the ocr
    policy reads with, and whose boxes it writes."""
    if isinstance(policy, BaseChatModel):
        return seeing(policy, store) if getattr(policy, "takes_references", False) else policy
    if not isinstance(policy, str):
        raise UsageError(f"policy: a {type(policy).__name__} is neither a LangChain chat model nor a name")
    if policy == "ocr":
        from r4agent.policy.ocr import OcrPolicy

        reader = reader or Reader(cache=home() / "read")
        return OcrPolicy(store=store, reader=reader, speaks=profile or QWEN2_5_VL)
    if policy == "nano":
        from r4agent.policy.nano import make_nano

        return seeing(make_nano(), store)
    module, colon, name = policy.partition(":")
    if not (module and colon and name):
        raise UsageError(f"policy {policy!r}: give `ocr`, `nano`, a chat model, or MODULE:NAME")
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise MissingError(
            f"policy {policy!r}: {one_line(error)}; is it installed, or its folder on PYTHONPATH?"
        ) from error
    except Exception as error:
        raise RunError(f"policy {policy!r}: importing it failed: {_what(error)}") from error
    if not isinstance(made, BaseChatModel) and callable(made):
        try:
            made = made()
        except Exception as error:
            raise RunError(f"policy {policy!r}: calling it failed: {_what(error)}") from error
    if not isinstance(made, BaseChatModel):
        raise UsageError(f"policy {policy!r}: is a {type(made).__name__}, not a LangChain chat model")
    return made


def spoken_by(model: BaseChatModel) -> ModelProfile:
    """How a policy takes pictures and writes boxes: as it says itself (ours do), else as Qwen2.5-VL."""
    profile: ModelProfile = getattr(model, "speaks", None) or QWEN2_5_VL
    return profile


def budget_of(policy: str | BaseChatModel) -> Budget:
    """What a question may cost where the user does not say it: as our own models say, else the defaults. A
    `MODULE:NAME` is not imported for this."""
    if policy == "nano":
        from r4agent.policy.nano import make_nano

        policy = make_nano()
    budget = getattr(policy, "budget", None)
    return budget if isinstance(budget, Budget) else Budget()


def described(model: BaseChatModel) -> dict[str, Any]:
    """Which model of its class, and how it samples: what LangChain tells tracers, which is no key, and of
    ours all that they are identified by. Where tokens are kept, also whose those are."""
    ours = getattr(model, "takes_references", False)
    told = {**model._get_ls_params(), **(model._identifying_params if ours else {})}
    if getattr(model, "token_exact", False):
        told["tokenizer"] = model.checkpoint.tokenizer_digest  # type: ignore[attr-defined]
    return told


def sampling(model: BaseChatModel) -> dict[str, float] | None:
    """How a token-exact model draws its tokens; None for others, which don't say."""
    if not getattr(model, "token_exact", False):
        return None
    return {key: float(getattr(model, key)) for key in ("temperature", "top_p")}


def _what(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error)}"
