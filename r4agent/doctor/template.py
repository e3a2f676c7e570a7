"""The checkpoint's own chat template against the conversation that r4agent writes.

Promises: both render the same conversation, with a picture, tools, a call and its response; where they
differ, the first difference and what it means for a run.
Does not: use the template for anything else. The engines never see it: they are given ids.
"""

import json
from pathlib import Path
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from r4agent.doctor.check import NotWell
from r4agent.engines import Checkpoint, Shown
from r4agent.engines.chatml import ChatML
from r4agent.errors import one_line
from r4agent.graphs.dialogue import signature
from r4agent.tools import Zoom

TOOL = signature("zoom", Zoom)
CALL = {"name": "zoom", "arguments": {"view": "v1", "box": [10, 20, 110, 60]}}
ANEW = "copy the checkpoint's chat template anew"


def examine_template(checkpoint: Checkpoint) -> str:
    """What was found. Raises NotWell where the model was taught another conversation than r4agent's."""
    name, template = template_of(checkpoint.folder)
    if template is None:
        return "the checkpoint has none; r4agent writes its family's own"
    try:
        theirs = _rendered(template, calls=False), _rendered(template, calls=True)
    except Exception as error:  # a template is a program
        raise NotWell(f"{name} can't be rendered: {one_line(error)}", ANEW) from error
    ours = _ours(checkpoint, calls=False), _ours(checkpoint, calls=True)
    if theirs == ours:
        return f"{name} writes a picture, tools, a call and its response as r4agent does"
    if theirs[0] != ours[0] and not theirs[0].removeprefix(ours[0]).strip().startswith("<think>"):
        raise NotWell(
            f"{name} {_difference(theirs[0], ours[0])}: the model was taught another conversation than "
            f"r4agent speaks with a {checkpoint.family}",
            f"expect worse replies; if the template is not the one it was trained with, {ANEW}",
        )
    notes = []
    opened = theirs[0].removeprefix(ours[0]).strip()
    if opened:
        notes.append(f"it opens {opened} for the model; r4agent lets the model write it")
    if "<tool_call>" not in theirs[1]:
        notes.append("it writes no tool calls; r4agent does")
    elif theirs[1].removesuffix(theirs[0].removeprefix(ours[0])) != ours[1]:
        notes.append(f"with tools it {_difference(theirs[1], ours[1])}; r4agent's stands")
    return f"{name} differs, and a run is none the worse: {'; '.join(notes)}"


def template_of(folder: Path) -> tuple[str, str | None]:
    """The file that vLLM and transformers would take the template from, and the template."""
    if (folder / "chat_template.jinja").is_file():
        return "chat_template.jinja", (folder / "chat_template.jinja").read_text()
    for name in ("chat_template.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            found = json.loads((folder / name).read_text()).get("chat_template")
            if isinstance(found, list):  # some have several, by name
                found = next((one["template"] for one in found if one["name"] == "default"), None)
            if found:
                return name, str(found)
    return "", None


def _ours(checkpoint: Checkpoint, *, calls: bool) -> str:
    picture = {"type": "image", "file_id": "img:probe"}
    shown = Shown("img:probe", (1, checkpoint.merge, checkpoint.merge))
    text = {"type": "text", "text": "What does the sign say?"}
    talk: list[BaseMessage] = [SystemMessage("You read signs."), HumanMessage([picture, text])]
    if calls:
        call = {"type": "tool_call", "id": "1", "name": CALL["name"], "args": CALL["arguments"]}
        talk += [AIMessage("Closer.", tool_calls=[call]), ToolMessage([picture, text], tool_call_id="1")]
    ids, _ = ChatML.of(checkpoint).render(talk, lambda _: shown, tools=[TOOL] if calls else ())
    return str(checkpoint.tokenizer.decode(ids, skip_special_tokens=False))


def _rendered(template: str, *, calls: bool) -> str:
    """As transformers renders it."""
    content = [{"type": "image"}, {"type": "text", "text": "What does the sign say?"}]
    talk: list[dict[str, Any]] = [
        {"role": "system", "content": "You read signs."},
        {"role": "user", "content": content},
    ]
    if calls:
        made = [{"type": "function", "function": CALL}]
        talk.append({"role": "assistant", "content": "Closer.", "tool_calls": made})
        talk.append({"role": "tool", "content": content})
    jinja = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    jinja.filters["tojson"] = lambda value, **more: json.dumps(value, ensure_ascii=False, **more)
    jinja.globals["raise_exception"] = _raise
    tools = [TOOL] if calls else None
    return jinja.from_string(template).render(messages=talk, tools=tools, add_generation_prompt=True)


class _Generation(Extension):
    """`{% generation %}`, with which trainers mark what is trained on."""

    tags = {"generation"}  # noqa: RUF012  # as jinja2 declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise(message: str) -> None:
    raise TemplateError(message)


def _difference(theirs: str, ours: str) -> str:
    """The first one, for a person."""
    at = next(
        (n for n, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), min(len(theirs), len(ours))
    )
    start = max(0, at - 12)
    return f"writes {theirs[start : at + 24]!r} where r4agent writes {ours[start : at + 24]!r}"
