"""What the graph says to a policy, and how it hears the reply.

Promises: a reply is understood the same whether the model calls tools by LangChain's means or in the
text; what is wrong with a call is said in one line that the model can act on.
Does not: touch state or media.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, InvalidToolCall, ToolCall
from pydantic import BaseModel, ValidationError

from r4agent import protocol
from r4agent.errors import R4Error, one_line
from r4agent.media import Source
from r4agent.media.view import Picture, is_picture
from r4agent.policy.conversation import text_block
from r4agent.protocol import Call, Malformed, Turn

HEAVY = ("image", "image_url", "video", "audio", "input_audio", "file")  # blocks that may carry data


def read_reply(reply: AIMessage) -> Turn:
    """The Turn of a reply, whether it calls tools by LangChain's means or in the text."""
    text = str(reply.text)
    if len(reply.tool_calls) > 1:
        return Turn(text, Malformed(f"{len(reply.tool_calls)} calls in one turn; make one at a time"))
    if reply.tool_calls:
        call = reply.tool_calls[0]
        return Turn(text, Call(call["name"], call["args"]))
    if reply.invalid_tool_calls:
        bad = reply.invalid_tool_calls[0]
        return Turn(text, Malformed(f"the arguments of {bad['name']} can't be used: {bad['error']}"))
    return protocol.parse(text)


def storable(reply: AIMessage) -> AIMessage:
    """The reply as log and checkpoint can keep it: every call with an id, calls whose arguments they can't
    keep made invalid, other data tamed."""
    good: list[ToolCall] = []
    bad = list(reply.invalid_tool_calls)
    for number, call in enumerate(reply.tool_calls):
        name, ident = call["name"], call["id"] or f"call-{number}"
        if _tame(call["args"]) == call["args"]:
            good.append(ToolCall(type="tool_call", name=name, args=call["args"], id=ident))
        else:
            why = "an integer beyond 64 bits, or nested too deeply"
            bad.append(InvalidToolCall(type="invalid_tool_call", name=name, args=None, id=ident, error=why))
    usage = reply.usage_metadata
    if usage is not None and not 0 <= usage["output_tokens"] < 2**63:
        usage = None
    return reply.model_copy(
        update={
            "tool_calls": good,
            "invalid_tool_calls": bad,
            "usage_metadata": usage,
            "response_metadata": _tame(reply.response_metadata),
            "additional_kwargs": _tame(reply.additional_kwargs),
        }
    )


def loggable(message: AnyMessage) -> AnyMessage:
    """A message that an agent's own code made, as the log can keep it: plain data, and no pixels or sound of
    the caller's own."""
    if isinstance(message, AIMessage):
        message = storable(message)
    if isinstance(message.content, str):
        return message
    return message.model_copy(update={"content": [_kept(block) for block in message.content]})


def _kept(block: Any) -> Any:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind in HEAVY and not is_picture(block):
        return {"type": "text", "text": f"({kind} of the caller's own, not kept here)"}
    return _tame(block)


def _tame(value: Any, depth: int = 16) -> Any:
    """Plain data that JSON and msgpack keep: what they can't is said in words."""
    if isinstance(value, dict | list | tuple):
        if not depth:
            return "…"
        if isinstance(value, dict):
            return {str(key): _tame(part, depth - 1) for key, part in value.items()}
        if set(map(type, value)) <= {float, str}:  # logprobs by the thousand
            return list(value)
        if set(map(type, value)) == {int} and -(2**63) <= min(value) <= max(value) < 2**63:  # and ids
            return list(value)
        return [_tame(part, depth - 1) for part in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -(2**63) <= value < 2**63 else f"{value:.3e}"
    return value if value is None or isinstance(value, str | float | bool) else str(value)[:200]


def label(picture: Picture) -> str:
    """How a picture is announced: its name, true time or page, what it shows of the source, its size."""
    view = picture.view
    when = f"page {view.frame + 1}" if view.time is None else f"frame {view.frame} at {view.time:.3f} s"
    x0, y0, x1, y1 = (round(v) for v in view.region.corners)
    return f"[{picture.name}] {when}, source [{x0}, {y0}, {x1}, {y1}], shown {view.size}"


def shown(made: Sequence[Picture], *texts: str) -> list[Any]:
    """Content that shows pictures with their names, then says what there is to say."""
    content: list[Any] = []
    for picture in made:
        content += [text_block(label(picture)), picture.block()]
    return content + [text_block(text) for text in texts if text]


def problem_of(error: R4Error | ValidationError, media: Path | None = None) -> str:
    """What is wrong with a call, in a line the model can act on; without the path of the media."""
    if isinstance(error, R4Error):
        return one_line(error).replace(str(media), "the media") if media else one_line(error)
    problems = []
    for part in error.errors()[:3]:
        where = ".".join(str(p) for p in part["loc"])
        problems.append(f"{where}: {part['msg']}" if where else part["msg"])
    return "; ".join(problems)


def complaint(problem: str, closing: str = "") -> str:
    """A problem as the model is told it: defused, since it repeats what the model wrote, and short."""
    return f"Error: {protocol.plain(one_line(ValueError(problem)))}. {closing}".strip()


def signature(name: str, arguments: type[BaseModel]) -> dict[str, Any]:
    """A tool's JSON schema, as an OpenAI function signature."""
    schema = arguments.model_json_schema()
    description = " ".join(schema.pop("description").split())
    schema.pop("title")
    for prop in schema["properties"].values():
        prop.pop("title", None)
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": schema},
    }


def describe_media(source: Source) -> str:
    """The media in a few words, for the system message."""
    match source.kind:
        case "video" | "animation":
            start = 0.0 if source.times is None else float(source.times[0])
            since = f" that starts at {start:.2f} s" if abs(start) >= 0.01 else ""
            return f"a video of {source.duration:.2f} s{since}, {source.size} pixels, {source.count} frames"
        case "pdf":
            return f"a document of {source.count} pages"
        case "images":
            return f"{source.count} pictures"
        case "image":
            return f"a picture of {source.size} pixels"


def describe_step(step: object) -> str:
    """A step in a word, for those who follow the run."""
    match step:
        case Call(name=name):
            return name
        case Malformed(problem=problem):
            return f"malformed: {problem}"
        case _:
            return type(step).__name__.lower()
