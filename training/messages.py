"""Episodes as conversations, for trainers that know chat templates and nothing of us; and conversations of
others as rows.

Promises: `{"messages", "images"}` as TRL, transformers and others read them: system, user and assistant in
turn; an observation is a user turn in <tool_response>, as Qwen's template writes it; as many placeholders as
pictures, in their order. The graph's system text has the tools' signatures. Qwen's own template makes of it
the very tokens of the episode, as far as the policy wrote them as its tokenizer would.
Does not: carry logprobs, or what a policy sampled in another spelling; token-exact rows do (`export`). The
prompt and the tools of an agent's own are not in its log, and so not here.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from PIL import Image

from r4agent.engines import Checkpoint
from r4agent.engines.chatml import END, ChatML
from r4agent.episode import Episode, Line
from r4agent.errors import UsageError
from r4agent.geometry import Size
from r4agent.ledger import Ledger, Span, digest
from r4agent.media.store import MediaStore
from r4agent.media.view import is_picture, pictures_in
from r4agent.policy.eyes import Eyes
from r4agent.training.rowfile import Record, datasets, encoded, generated
from r4agent.training.rows import Row
from r4agent.training.store import Stored

if TYPE_CHECKING:
    from datasets import Dataset, Features


def features() -> "Features":
    """The columns: episode, stage, messages, images. A part's text is None where it is a picture."""
    sets = datasets()
    text = sets.Value("string")
    part = {"type": text, "text": text}
    return sets.Features(
        {
            "episode": text,
            "stage": text,
            "messages": sets.List({"role": text, "content": sets.List(part)}),
            "images": sets.List(sets.Image()),
        }
    )


def to_messages(episodes: Iterable[Stored], pictures: MediaStore) -> "Dataset":
    """Episodes of any policy, one a row. Raises MediaError for a picture that is not in `pictures`."""

    def records() -> Iterator[Record]:
        for stored in episodes:
            episode = stored.episode
            seen = (line["content"] for line in _replied_to(episode))
            yield {
                "episode": episode.id,
                "stage": stored.stage,
                "messages": list(conversation(episode)),
                "images": [encoded(picture.ref, pictures) for picture in pictures_in(seen)],
            }

    return generated(records(), features())


def conversation(episode: Episode) -> Iterator[Record]:
    """An episode's messages up to its last reply, those of earlier questions first, as role and content."""
    for role, turn in groupby(_replied_to(episode), lambda line: line["role"]):
        lines = list(turn)
        if role == "tool":  # observations in a row are one user turn
            yield {"role": "user", "content": list(_observed(lines))}
        elif role == "ai":
            yield from ({"role": "assistant", "content": [_text(_said(line))]} for line in lines)
        else:
            name = {"system": "system", "human": "user"}[role]
            yield from ({"role": name, "content": list(_parts(line["content"]))} for line in lines)


def rows(
    dataset: "Dataset", checkpoint: Checkpoint, pictures: MediaStore, *, most: int = 1280
) -> Iterator[Row]:
    """Conversations of others, in the form above, as rows to imitate: each assistant turn as the checkpoint's
    tokenizer writes it. Pictures are scaled to the checkpoint's grid, to at most `most` tokens, and put into
    `pictures`. Raises UsageError where a conversation and its pictures don't fit."""
    for number, record in enumerate(dataset):
        name = record.get("episode") or f"row-{number}"
        refs = iter([pictures.put(_fitted(image, checkpoint, most)) for image in record["images"]])
        messages = [_message(part, refs, name) for part in record["messages"]]
        if next(refs, None) is not None:
            raise UsageError(f"{name}: more pictures than places for them")
        yield Row.of_replies(name, _with_spans(messages, checkpoint, pictures), taught=True)


def _replied_to(episode: Episode) -> Sequence[Line]:
    """The lines up to the last reply; what a run that was cut says after it, nobody heard."""
    lines = episode.history
    return lines[: 1 + max((at for at, line in enumerate(lines) if line["role"] == "ai"), default=-1)]


def _parts(content: str | list[Any]) -> Iterator[Record]:
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    for block in content:
        if is_picture(block):
            yield {"type": "image", "text": None}
        elif block["type"] == "text":
            yield _text(block["text"])
        else:
            raise UsageError(f"a content block of type {block['type']!r}: messages have text and pictures")


def _text(text: str) -> Record:
    return {"type": "text", "text": text}


def _said(reply: Line) -> str:
    """A reply as text, with its calls as Qwen writes them."""
    content = reply["content"]
    blocks = [_text(content)] if isinstance(content, str) else content
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    if "<tool_call>" in text:
        return text
    calls = [json.dumps({"name": call["name"], "arguments": call["args"]}) for call in reply["tool_calls"]]
    return "\n".join([*filter(None, [text]), *(f"<tool_call>\n{call}\n</tool_call>" for call in calls)])


def _observed(lines: Iterable[Line]) -> Iterator[Record]:
    for number, line in enumerate(lines):
        yield _text("\n<tool_response>\n" if number else "<tool_response>\n")
        yield from _parts(line["content"])
        yield _text("\n</tool_response>")


def _message(part: Record, refs: Iterator[str], name: str) -> BaseMessage:
    """A message of the dataset; its pictures are the next of `refs`."""
    content: list[Any] = []
    given = part["content"]
    for block in [_text(given)] if isinstance(given, str) else given:
        if block["type"] != "image":
            content.append(_text(block["text"]))
        elif (ref := next(refs, None)) is not None:
            content.append({"type": "image", "file_id": ref})
        else:
            raise UsageError(f"{name}: fewer pictures than places for them")
    match part["role"]:
        case "system":
            return SystemMessage(content)
        case "user":
            return HumanMessage(content)
        case "assistant":
            return AIMessage("".join(block["text"] for block in content))
        case role:
            raise UsageError(f"{name}: a message of the role {role!r}; write observations as user turns")


def _with_spans(
    messages: list[BaseMessage], checkpoint: Checkpoint, pictures: MediaStore
) -> Iterator[AIMessage]:
    """The replies, each with the span that it would have, had the model said it."""
    chatml, ledger = ChatML.of(checkpoint), Ledger()
    eyes = Eyes(checkpoint, pictures, checkpoint.context)
    for number, reply in enumerate(messages):
        if not isinstance(reply, AIMessage):
            continue
        ids, shown = chatml.render(messages[:number], eyes.see)
        said = [*checkpoint.tokenizer.encode(reply.text, add_special_tokens=False).ids, chatml.token(END)]
        at, new = len(ledger.ids), shown[len(ledger.images) :]
        span = Span(
            at=at,
            prompt_ids=ids[at:],
            token_ids=said,
            logprobs=[0.0] * len(said),
            images=[picture.ref for picture in new],
            image_grid_thw=[list(picture.grid) for picture in new],
            opening="",
            said=digest(reply),
        )
        reply.response_metadata["span"] = span
        ledger.add(span)
        yield reply


def _fitted(image: Image.Image, checkpoint: Checkpoint, most: int) -> Image.Image:
    size = checkpoint.profile.fit(Size(image.width, image.height), most)
    return image.convert("RGB").resize((size.width, size.height), Image.Resampling.BICUBIC)
