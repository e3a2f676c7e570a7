"""ChatML: from LangChain messages to the token ids of a Qwen-VL conversation.

Promises: special tokens stand only where this file puts them, by id; text is encoded with special tokens off,
so that a typed `<|im_end|>` stays text. What a policy sampled is kept verbatim, by id. The result equals what
the family's own chat template gives for text without special tokens (tests compare them).
Does not: touch pixels, or keep anything but encoded text.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage

from r4agent.engines.checkpoint import Checkpoint
from r4agent.engines.request import Shown
from r4agent.errors import UsageError
from r4agent.ledger import digest, span_of
from r4agent.protocol import Malformed, json_object

Block = Mapping[str, Any]
See = Callable[[Block], Shown]
"""From a message's image block to the picture that stands for it."""

Piece = str | int | Shown | list[int]
"""Text, a special token, a picture, or ids as they were sampled."""

START, END = "<|im_start|>", "<|im_end|>"
FORCED = "<tool_call>\n"
"""What a reply begins with that must be a call; a JSON schema holds the rest."""

CALL, CALLED, THOUGHT = "<tool_call>", "</tool_call>", "</think>"
DEFAULT_SYSTEM = {"qwen2_5_vl": "You are a helpful assistant.", "qwen3_vl": None}

# The words in which Qwen's models were taught about tools.
TOOLS = """\
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{signatures}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""  # noqa: E501


class ChatML:
    """Renders conversations for one checkpoint."""

    @classmethod
    @cache
    def of(cls, checkpoint: Checkpoint) -> "ChatML":
        """The one for a checkpoint, with what it has encoded."""
        return cls(checkpoint)

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.token = lru_cache(maxsize=None)(checkpoint.token)
        self._encode = lru_cache(maxsize=4096)(self._encoded)

    def render(
        self,
        messages: Sequence[BaseMessage],
        see: See,
        *,
        tools: Sequence[dict[str, Any]] = (),
        opening: str = "",
    ) -> tuple[list[int], list[Shown]]:
        """The prompt that asks for the next turn, one image token for each picture, and the pictures.

        see: knows the pictures. tools: OpenAI function signatures. opening: what the reply begins with."""
        ids: list[int] = []
        pictures: list[Shown] = []
        text = ""
        for piece in (
            *self._conversation(messages, see, tools),
            self.token(START),
            f"assistant\n{opening}",
            [],
        ):
            if isinstance(piece, str):  # runs of text are encoded whole: tokens may span our seams
                text += piece
                continue
            if text:
                ids += self._encode(text)
                text = ""
            if isinstance(piece, Shown):
                ids += (
                    self.token("<|vision_start|>"),
                    self.checkpoint.image_token,
                    self.token("<|vision_end|>"),
                )
                pictures.append(piece)
            elif isinstance(piece, list):
                ids += piece
            else:
                ids.append(piece)
        return ids, pictures

    def expand(self, ids: Sequence[int], pictures: Sequence[Shown]) -> list[int]:
        """The ids with each picture's image token repeated as often as its grid says."""
        image, out, start = self.checkpoint.image_token, list[int](), 0
        for picture in pictures:  # by slices: every turn does this for its whole prompt
            at = ids.index(image, start)
            out += ids[start:at]
            out += [image] * self.checkpoint.tokens(picture.grid)
            start = at + 1
        return out + list(ids[start:])

    def text(self, ids: Sequence[int], opening: str = "") -> str:
        """What a reply says: its ids without the end of the turn, after what it was made to begin with."""
        ends = (self.token(END), self.token("<|endoftext|>"))
        said = list(ids[:-1] if ids and ids[-1] in ends else ids)
        text = self.checkpoint.tokenizer.decode(said, skip_special_tokens=False)
        return f"{opening}{text}\n</tool_call>" if opening == FORCED else text

    def _encoded(self, text: str) -> tuple[int, ...]:
        return tuple(self.checkpoint.tokenizer.encode(text, add_special_tokens=False).ids)

    def _conversation(
        self, messages: Sequence[BaseMessage], see: See, tools: Sequence[dict[str, Any]]
    ) -> Iterator[Piece]:
        start, end = self.token(START), self.token(END)
        first = messages[0] if messages and isinstance(messages[0], SystemMessage) else None
        system = _system_text(first) if first else DEFAULT_SYSTEM[self.checkpoint.family]
        if tools:
            block = TOOLS.format(signatures="\n".join(_json(tool) for tool in tools))
            system = f"{system}\n\n{block}" if system else block
        if system:
            yield from (start, f"system\n{system}", end, "\n")
        for role, turn in groupby(messages[1 if first else 0 :], _role):
            if role != "tool":
                for message in turn:
                    yield from (start, f"{role}\n")
                    yield from self._sampled(message) or (*_pieces(message, see), end)
                    yield "\n"
                continue
            yield from (start, "user")  # observations in a row are one user turn
            for message in turn:
                yield from ("\n<tool_response>\n", *_pieces(message, see), "\n</tool_response>")
            yield from (end, "\n")

    def _sampled(self, message: BaseMessage) -> tuple[Piece, ...]:
        """The ids of a reply of ours, if it still says what they say; if someone edited it, none."""
        span = span_of(message) if isinstance(message, AIMessage) else None
        if span is None or span["said"] != digest(message):
            return ()
        ids = span["token_ids"]
        closed = () if ids and ids[-1] == self.token(END) else (self.token(END),)
        return (span["opening"], ids, *closed)


@dataclass(frozen=True, slots=True)
class WrittenCall:
    """A tool call as a reply spells it. arguments: None where it can't be used, for the reason in `error`."""

    name: str
    arguments: dict[str, Any] | None
    raw: str
    error: str = ""


def calls_in(text: str) -> tuple[str, list[WrittenCall]]:
    """What a reply says beside its tool calls, and these. One that it only thinks of is none."""
    said: list[str] = []
    calls: list[WrittenCall] = []
    kept, at = 0, text.rfind(THOUGHT) + 1
    while (start := text.find(CALL, at)) >= 0 and (end := text.find(CALLED, start)) >= 0:
        said.append(text[kept:start])
        calls.append(_written(text[start + len(CALL) : end].strip()))
        kept = at = end + len(CALLED)
    return "".join([*said, text[kept:]]), calls


def _written(body: str) -> WrittenCall:
    value = json_object(body)
    if isinstance(value, Malformed):
        return WrittenCall("", None, body, value.problem)
    name, arguments = value.get("name"), value.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return WrittenCall("", None, body, '"name" must be a string and "arguments" an object')
    return WrittenCall(name, arguments, body)


def _json(value: Any) -> str:
    """As chat templates write it."""
    return json.dumps(value, ensure_ascii=False)


def _role(message: BaseMessage) -> str:
    roles = {"human": "user", "ai": "assistant", "tool": "tool", "system": "system"}
    if message.type not in roles:
        raise UsageError(f"a message of type {message.type!r}: give system, human, ai and tool messages")
    return roles[message.type]


def _system_text(message: SystemMessage) -> str:
    blocks = [] if isinstance(message.content, str) else _blocks(message)
    for block in blocks:
        if block["type"] != "text":
            raise UsageError(
                f"a system message with {block['type']!r}: give text, and pictures in human messages"
            )
    return str(message.text)


def _pieces(message: BaseMessage, see: See) -> Iterator[Piece]:
    """A message's text and pictures, as the template orders them; a reply's calls after its text."""
    if isinstance(message.content, str):
        yield message.content
    else:
        for block in _blocks(message):
            match block["type"]:
                case "text":
                    yield block["text"]
                case "image":
                    yield see(block)
                case "tool_call" | "tool_call_chunk" | "invalid_tool_call" | "reasoning":
                    pass  # calls follow below; earlier thoughts are not shown again
                case "non_standard" if isinstance(message, AIMessage):
                    pass  # the same, in another provider's words
                case other:
                    raise UsageError(f"a content block of type {other!r}: this model takes text and images")
    if isinstance(message, AIMessage) and "<tool_call>" not in message.text:
        for number, call in enumerate(message.tool_calls):
            seam = "\n" if number or message.text else ""
            body = _json({"name": call["name"], "arguments": call["args"]})
            yield f"{seam}<tool_call>\n{body}\n</tool_call>"


def _blocks(message: BaseMessage) -> Sequence[Block]:
    """Content as blocks: ours as they stand, other providers' in LangChain's own form."""
    blocks = message.content
    if all(isinstance(b, dict) and (b.get("type") == "text" or "file_id" in b) for b in blocks):
        return blocks  # type: ignore[return-value]
    return message.content_blocks
