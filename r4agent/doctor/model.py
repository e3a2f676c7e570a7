"""Is this model well, with this engine and this budget?

Promises: what a run asks of a model is asked once, with a picture made here. A check whose ground is missing
is skipped, and says what it needs.
Does not: judge answers (`r4 eval` does).
"""

import base64
import io
import json
import math
import time
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from PIL import Image, ImageDraw, ImageFont

from r4agent.budget import Budget
from r4agent.doctor.check import Check, NotWell, check
from r4agent.doctor.checkpoint import ANEW, examine_checkpoint, examine_tokens
from r4agent.doctor.engine import context_of, describe, for_more
from r4agent.doctor.template import examine_template
from r4agent.errors import R4Error, one_line
from r4agent.geometry import Size
from r4agent.graphs.dialogue import label, signature
from r4agent.ledger import Span, span_of
from r4agent.media.view import Picture, View
from r4agent.policy.chat import ChatR4
from r4agent.protocol import BOX_SPACES, system_text
from r4agent.tools import TOOLS, Zoom

NEEDS: dict[str, tuple[str, ...]] = {
    "checkpoint": (),
    "tokens": ("checkpoint",),
    "template": ("tokens",),
    "engine": ("tokens",),
    "images": ("engine",),
    "image limit": ("images",),
    "context": ("engine",),
    "logprobs": ("engine",),
    "call": ("images",),
    "speed": ("call",),
}
"""The checks, in the order in which a run needs them, and what each stands on."""

EXTRAS = {"vllm": "vllm", "http": "server", "transformers": "transformers"}
UNFORCED = ("transformers",)  # engines that can't hold a reply to a schema
FRAME = Size(1920, 1080)  # of the video that the probes pretend
RAW = "start it with --logprobs-mode raw_logprobs, or without --model-arg logprobs_mode=…"
ENDLESS = (
    "give --model-arg max_tokens=N, more than now; if it is white space, start the engine with "
    """structured_outputs_config '{"backend": "xgrammar", "disable_any_whitespace": true}'"""
)
GAP = 0.1  # how far two logprobs of one token may lie apart: batches round differently, most in bfloat16


def examine_model(model: ChatR4, budget: Budget) -> Iterator[Check]:
    """The findings, each as soon as it is made."""
    probes = _Probes(model, budget)
    todo = dict.fromkeys(("checkpoint", "tokens"), ANEW)
    todo["engine"] = f'pip install --upgrade "r4agent[{EXTRAS.get(model._engine_name, "server")}]"'
    well: set[str] = set()
    for name, needs in NEEDS.items():
        if missing := [need for need in needs if need not in well]:
            yield Check(name, None, f"skipped, since it needs {missing[0]}")
            continue
        found = check(name, getattr(probes, name.replace(" ", "_")), todo.get(name, ""))
        if found.ok:
            well.add(name)
        yield found


class _Probes:
    """A method for each check: returns what was found, or raises."""

    def __init__(self, model: ChatR4, budget: Budget) -> None:
        self.model = model
        self.budget = budget
        self._pace = ""  # of the call

    def checkpoint(self) -> str:
        return examine_checkpoint(self.model.checkpoint)

    def tokens(self) -> str:
        return examine_tokens(self.model.checkpoint)

    def template(self) -> str:
        return examine_template(self.model.checkpoint)

    def engine(self) -> str:
        began = time.perf_counter()
        engine = self.model.runner
        described = describe(engine)
        return f"{described}, ready in {time.perf_counter() - began:.1f} s"

    def images(self) -> str:
        """The engine's count of image tokens is compared with ours in every call."""
        checkpoint, sizes = self.model.checkpoint, []
        for most in (self.budget.overview_tokens, self.budget.picture_tokens):
            reply = self._ask([_picture(FRAME)], "What is it?", most, max_tokens=1)
            _, rows, columns = grid = _span(reply)["image_grid_thw"][0]
            tokens = checkpoint.tokens((grid[0], rows, columns))
            sizes.append(f"{tokens:,} tokens ({columns * checkpoint.patch}x{rows * checkpoint.patch})")
        return (
            f"a frame of {FRAME} takes {sizes[0]} in the overview, {sizes[1]} close up; the engine counts "
            "the same"
        )

    def image_limit(self) -> str:
        side, most = 2 * self.model.speaks.grid, self.budget.images
        try:
            self._ask([_picture(Size(side, side))] * most, "What is it?", max_tokens=1)
        except R4Error as error:
            todo = f"a run of this budget may show {most}; fewer with --budget images=N"
            raise NotWell(one_line(error, 500), todo) from error
        return f"it takes {most} pictures in a prompt, as many as a run of this budget may show"

    def context(self) -> str:
        budget, takes = self.budget, context_of(self.model.runner)
        text = self._text_tokens()
        need = budget.image_tokens + budget.new_tokens + text
        found = (
            f"{takes:,} tokens; a run of this budget may take {need:,}: {budget.image_tokens:,} of pictures, "
            f"{budget.new_tokens:,} that it writes, about {text:,} of text"
        )
        if need > takes:
            raise NotWell(found, for_more(self.model, budget, need))
        return found

    def _text_tokens(self) -> int:
        """What a run's prompt has beside pictures and replies."""
        tools = [signature(name, arguments) for name, arguments in TOOLS.items()]
        media = f"a video of 60.00 s, {FRAME} pixels, 1800 frames"
        view = View(1799, 59.966667, FRAME.box, FRAME)
        opening = system_text(media, tools, self.model.speaks, self.budget)
        caption = label(Picture(f"v{self.budget.images}", view, ""))
        count = self.model.get_num_tokens
        return count(opening) + self.budget.images * count(caption)

    def logprobs(self) -> str:
        """Drawn greedily, and at a temperature of 2 from the likeliest token alone, the same tokens come. The
        model's own logprobs are then the same too; processed ones are not."""
        asked = "Write a line of a poem that nobody has written."
        cold = _span(self._ask([], asked, max_tokens=8))
        hot = _span(self._ask([], asked, max_tokens=8, temperature=2.0, top_p=1e-6))
        said = [*cold["logprobs"], *hot["logprobs"]]
        if wrong := [value for value in said if not -math.inf < value < 1e-3]:
            raise NotWell(f"a token has the logprob {wrong[0]}", RAW)
        gap = 0.0
        for token, other, one, two in zip(
            cold["token_ids"], hot["token_ids"], cold["logprobs"], hot["logprobs"], strict=False
        ):
            gap = max(gap, abs(one - two))
            if token != other:  # of two that are about as likely; what follows is another text
                break
        if gap > GAP:
            raise NotWell(f"of two calls they differ by {gap:.3f}, so they are not the model's own", RAW)
        return f"one for each token, the model's own; over two calls they differ by {gap:.1g} at most"

    def call(self) -> str:
        forced = self.model.runner.name not in UNFORCED
        began = time.perf_counter()
        reply = self._call(forced)
        seconds = time.perf_counter() - began
        written = reply.usage_metadata["output_tokens"] if reply.usage_metadata else 0
        self._pace = f"{written / seconds:.1f} tokens a second: {written} in {seconds:.2f} s, with the prompt"
        if not forced:
            said = "a valid call" if _valid(reply) else f"no valid call ({_said(reply)})"
            return (
                f"engine {self.model.runner.name} can't hold a reply to a schema, so tool_choice and "
                f"with_structured_output don't work; the graph asks freely, and so asked it writes {said}"
            )
        if not _valid(reply):
            cut = reply.response_metadata["finish_reason"] == "length"
            raise NotWell(
                f"asked for a call of zoom it writes {_said(reply)}{', cut off there' if cut else ''}",
                ENDLESS if cut else "look at the engine's structured outputs and its log",
            )
        return f"zoom is demanded, and comes: {json.dumps(reply.tool_calls[0]['args'])}"

    def _call(self, forced: bool) -> AIMessage:
        """The reply to a conversation with a picture, that is to be a call of zoom."""
        tool = signature("zoom", Zoom)
        fields = tool["function"]["parameters"]["properties"]
        fields["view"]["enum"] = ["v1"]  # any text and number may be a schema's; noise has no end of either
        fields["box"]["items"] = {"type": "integer", "minimum": 0, "maximum": 1000}
        bound = self._seeing(self.budget.overview_tokens).bind_tools(
            [tool], **({"tool_choice": "zoom"} if forced else {"max_tokens": 64})
        )
        space = BOX_SPACES[self.model.speaks.space]
        asked = HumanMessage([_text("[v1]"), _picture(FRAME), _text("Zoom into the sign.")])
        return bound.invoke([SystemMessage(f"You read signs. Boxes are [x0, y0, x1, y1] in {space}."), asked])

    def speed(self) -> str:
        return self._pace

    def _ask(
        self, pictures: Sequence[dict[str, Any]], text: str, most: int | None = None, **sampling: Any
    ) -> AIMessage:
        """The reply to pictures of at most this many tokens each, or as many as in the overview."""
        asked = HumanMessage([*pictures, _text(text)])
        model = self._seeing(most or self.budget.overview_tokens)
        return model.invoke([asked], **{"temperature": 0.0, **sampling})

    def _seeing(self, most: int) -> ChatR4:
        """The model, shown pictures of at most this many tokens. No reply is taken from a cache."""
        return self.model.model_copy(update={"picture_tokens": most, "cache": False})


def _valid(reply: AIMessage) -> bool:
    try:
        (call,) = reply.tool_calls
        Zoom.model_validate(call["args"])
    except ValueError:  # no call, several, or pydantic's
        return False
    return call["name"] == "zoom"


def _said(reply: AIMessage) -> str:
    """The reply, as far as it fits on a line."""
    calls = [call["args"] for call in (*reply.tool_calls, *reply.invalid_tool_calls)]
    text = str(reply.text) or json.dumps(calls)
    return repr(text if len(text) <= 80 else f"{text[:40]}…{text[-40:]}")


def _span(reply: AIMessage) -> Span:
    span = span_of(reply)
    assert span is not None, "the reply has no span"
    return span


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


@cache
def _picture(size: Size) -> dict[str, Any]:
    """A sign, as an image block."""
    image = Image.new("RGB", (size.width, size.height), "white")
    draw = ImageDraw.Draw(image)
    draw.text((size.width // 3, size.height // 3), "OPEN 9 to 5", "black", ImageFont.load_default(size=28))
    file = io.BytesIO()
    image.save(file, "PNG")
    return {
        "type": "image",
        "base64": base64.b64encode(file.getvalue()).decode(),
        "mime_type": "image/png",
    }
