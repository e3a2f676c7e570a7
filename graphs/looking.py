"""Looking: from what is wanted to the pictures that the policy is shown.

Promises: the budget is checked before anything is decoded; a damaged frame costs that frame, and the policy
is told which; what can't be done is said in one line.
Does not: log or route; the nodes do.
"""

from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage
from pydantic import ValidationError

from r4agent import protocol
from r4agent.budget import Spent
from r4agent.errors import MediaError, UsageError
from r4agent.graphs import controls
from r4agent.graphs.dialogue import complaint, label, problem_of
from r4agent.graphs.kit import Kit
from r4agent.graphs.state import RuminationState, pictures
from r4agent.media import Source
from r4agent.media.view import Picture, View
from r4agent.policy.conversation import text_block
from r4agent.tools import ReEncode, re_encode, see_again
from r4agent.tools.select_frames import first_number


def make(kit: Kit, state: RuminationState, spent: Spent) -> tuple[list[Picture], str | None]:
    """The pictures wanted, or what is wrong with wanting them."""
    call = state["call"]
    views = [View.parse(recipe) for recipe in state["wanted"]]
    try:
        if call is not None and not views:
            arguments = ReEncode.model_validate(call["arguments"])
            parent = seen(state, arguments.view).view
            views = [see_again(parent, arguments, profile=kit.profile, budget=kit.budget)]
        if call is not None and kit.control == "no-tool":
            raise UsageError(controls.NO_PICTURE)
        tokens = sum(kit.profile.tokens(view.size) for view in views)
        images_left = kit.budget.images - spent.images
        tokens_left = kit.budget.image_tokens - spent.image_tokens
        if len(views) > images_left or tokens > tokens_left:
            raise UsageError(
                f"{len(views)} pictures of {tokens} image tokens asked for; "
                f"{images_left} pictures of {tokens_left} tokens are left; ask for less"
            )
    except (UsageError, ValidationError) as error:
        return [], problem_of(error)
    if not views:
        return [], None
    first = len(pictures(state.get("messages", []))) + 1
    if call is not None and kit.control == "blank-crop":
        return controls.blank(views, kit.store, first=first), None
    with kit.source(state) as source:
        if call is not None and kit.control == "random-crop":
            views = controls.elsewhere(views, source, kit.profile, f"{state['question']} {first} {views}")
        try:
            return list(re_encode(source, views, kit.store, first=first)), None
        except MediaError as error:
            return _salvage(kit, source, views, first, error)


def _salvage(
    kit: Kit, source: Source, views: list[View], first: int, error: MediaError
) -> tuple[list[Picture], str | None]:
    """Where a frame is damaged, those that are not, and which are."""
    made: list[Picture] = []
    lost = []
    for view in views:
        try:
            made += re_encode(source, [view], kit.store, first=first + len(made))
        except MediaError:
            lost.append(view.frame + first_number(source))
    if not made:
        if first == 1:
            raise error
        return [], problem_of(error, source.path)
    return made, f"damaged, and not shown: frame {', '.join(map(str, lost))}"


def observation(
    kit: Kit, state: RuminationState, made: list[Picture], problem: str | None, spent: Spent
) -> AnyMessage:
    """What the policy is shown: pictures with their names and true times, then what there is to say."""
    content: list[Any] = []
    for picture in made:
        content += [text_block(label(picture)), picture.block()]
    closing = kit.closing(spent)
    call = state["call"]
    if problem is not None:
        content.append(text_block(complaint(problem)))
    if call is None:
        asked = protocol.question_text(state["question"], state.get("choices", []))
        content.append(text_block(asked))
    if closing:
        content.append(text_block(closing))
    if call is None:
        return HumanMessage(content)
    return ToolMessage(content, tool_call_id=call["id"], status="success" if made else "error")


def seen(state: RuminationState, name: str) -> Picture:
    """The picture that goes by a name; UsageError lists the names there are."""
    known = pictures(state["messages"])
    if name not in known:
        raise UsageError(f"view {name!r}: the pictures are {', '.join(known)}")
    return known[name]
