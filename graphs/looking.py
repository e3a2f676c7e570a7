"""Looking: from what is wanted to the pictures that the policy is shown.

Promises: what can't be done is said in one line; a control spoils what calls bring, and nothing else.
Does not: log or route; the nodes do. Choosing and making are the kit's optics.
"""

from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage
from pydantic import ValidationError

from r4agent import protocol
from r4agent.budget import Spent
from r4agent.errors import UsageError
from r4agent.graphs import controls
from r4agent.graphs.dialogue import complaint, problem_of, shown
from r4agent.graphs.kit import Kit
from r4agent.graphs.state import RuminationState, pictures
from r4agent.media.view import Picture, View


def make(kit: Kit, state: RuminationState, spent: Spent) -> tuple[list[Picture], str | None]:
    """The pictures wanted, or what is wrong with wanting them."""
    call = state["call"]
    known = pictures(state.get("messages", []))
    views = [View.parse(recipe) for recipe in state["wanted"]]
    try:
        if call is not None and not views:
            with kit.source(state) as source:
                views = kit.choose("re_encode", call["arguments"], known, source)
        if call is not None and kit.control == "no-tool":
            raise UsageError(controls.NO_PICTURE)
        kit.afford(views, spent)
    except (UsageError, ValidationError) as error:
        return [], problem_of(error)
    if not views:
        return [], None
    first = len(known) + 1
    if call is not None and kit.control == "blank-crop":
        return controls.blank(views, kit.store, first=first), None
    with kit.source(state) as source:
        if call is not None and kit.control == "random-crop":
            views = controls.elsewhere(views, source, kit.profile, f"{state['question']} {first} {views}")
        return kit.make(source, views, first=first)


def observation(
    kit: Kit, state: RuminationState, made: list[Picture], problem: str | None, spent: Spent
) -> AnyMessage:
    """What the policy is shown: pictures with their names and true times, then what there is to say."""
    call = state["call"]
    asked = protocol.question_text(state["question"], state.get("choices", [])) if call is None else ""
    content = shown(made, complaint(problem) if problem else "", asked, kit.closing(spent))
    if call is None:
        return HumanMessage(content)
    return ToolMessage(content, tool_call_id=call["id"], status="success" if made else "error")
