"""Options: what the arguments of the command `r4` stand for: who looks, what it may cost, what is asked.

Promises: what contradicts itself is a UsageError that says what to give.
Does not: import what is heavy before it is asked for.
"""

import argparse
import json
from typing import TYPE_CHECKING, Any

from r4agent.errors import MissingError, UsageError

if TYPE_CHECKING:
    from r4agent.budget import Budget
    from r4agent.evaluation import Questions
    from r4agent.policy.chat import ChatR4
    from r4agent.reader import Reader


def policy_of(options: argparse.Namespace) -> "str | ChatR4":
    """Who looks: a policy by name, or a model and what runs it."""
    if options.policy and options.model:
        raise UsageError("--policy and --model both say who looks; give one")
    engine, model = options.engine or ("http" if options.base_url else None), options.model
    if options.policy == "nano":
        from r4agent.policy.nano import nano_checkpoint

        engine, model = engine or "transformers", str(nano_checkpoint())
    if model is None:
        if options.engine or options.base_url or options.model_arg:
            raise UsageError("--engine, --base-url and --model-arg go with --model PATH|ID or --policy nano")
        return options.policy or "ocr"
    from pydantic import ValidationError

    from r4agent.policy.chat import ChatR4

    own, others = _model_arguments(options.model_arg)
    try:
        return ChatR4(
            model=model,
            engine=engine or "vllm",
            base_url=options.base_url,
            engine_args=others,
            **own,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"--model-arg {first['loc'][0]}={first['input']}: {first['msg']}") from error


def budget_of(options: argparse.Namespace, policy: "str | ChatR4") -> "Budget":
    """What a question may cost: as the policy has it, but for what the user says."""
    from r4agent.budget import Budget
    from r4agent.policy.resolve import budget_of as own_budget

    return Budget.parse(options.budget).over(own_budget(policy))


def _model_arguments(pairs: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """KEY=VALUE pairs: those of ChatR4, and those of its engine. Values are JSON where they are that."""
    own: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(
                f"--model-arg {pair!r}: write KEY=VALUE, such as temperature=1 or max_model_len=16384"
            )
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        chat = ("temperature", "top_p", "max_tokens", "seed", "timeout", "picture_tokens")
        (own if key in chat else others)[key] = value
    return own, others


def reader_or_none() -> "Reader | None":
    """A reader to check answers with. Without the extra `ocr` answers are said to be unchecked, and the ocr
    policy, which needs one, says what to install."""
    from r4agent.media.store import home
    from r4agent.reader import Reader

    try:
        return Reader(cache=home() / "read")
    except MissingError:
        return None


def questions_of(options: argparse.Namespace) -> "Questions":
    from r4agent.evaluation import of_file, of_textworld

    if options.questions == "textworld":
        if options.level is None or options.n is None:
            raise UsageError(f"{options.command} textworld: give --level and --n")
        return of_textworld(options.level, options.n, options.seed)
    if options.level is not None:
        raise UsageError(f"--level goes with textworld; {options.questions} is taken for a file of questions")
    return of_file(options.questions, options.n, options.seed, options.root)
