"""Plans: how a teacher looks, on an item whose evidence is known to the pixel.

    deliberate      one kind of operation, used once or until the text is legible: frames, zoom, again
    compositional   several: zoom of a frame, zoom of a zoom, detail before a zoom, a wrong frame or a wrong
                    place looked at first and left
    closer          a zoom on the board that a text stands on, then on the text: small steps, each of which
                    can be foreseen from the picture before it, as a small student needs them
    search          a zoom on the label of one board after another, until it is the one asked for, then on the
                    board and the text: labels can't be read in the overview

Promises: a plan follows from the item, the pictures shown so far and a lot; the answer is not said before a
picture showed it, and a wrong look shows nothing of it.
Does not: read. It knows where the answer stands, so what it teaches is where to look, not how to find out.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from langchain_core.messages import BaseMessage

from r4agent.geometry import Box
from r4agent.media.view import Picture, pictures_in
from r4agent.training.scene import BESIDE, TIGHT, WIDE, Scene, Unfit, boards_of, moment_of, roomy

Kind = Literal["deliberate", "compositional", "closer", "search"]

Plan = Callable[[Scene], Iterator[str]]
"""The replies to an item, one after another; `scene.pictures` has grown when the next is asked for."""


def frames(scene: Scene) -> Iterator[str]:
    """A frame, whole, and nothing else."""
    yield scene.select(_small(scene), scene.moment())
    yield scene.answer()


def zoom(scene: Scene) -> Iterator[str]:
    """A region of the overview."""
    picture = scene.holding()
    yield scene.zoom(_here(scene, picture), picture, scene.around(picture, TIGHT))
    yield scene.answer()


def again(scene: Scene) -> Iterator[str]:
    """A picture of the overview in more detail."""
    picture = scene.holding()
    yield scene.again(f"Wanted: {scene.key}. {picture.name} has it, in too little detail.", picture)
    yield scene.answer()


def frame_then_zoom(scene: Scene) -> Iterator[str]:
    yield scene.select(_small(scene), scene.moment())
    yield from _closer(scene)


def zoom_of_zoom(scene: Scene) -> Iterator[str]:
    picture = scene.holding()
    yield scene.zoom(_part(scene, picture), picture, scene.around(picture, WIDE))
    yield from _closer(scene)


def detail_then_zoom(scene: Scene) -> Iterator[str]:
    picture = scene.holding()
    yield scene.again(f"Wanted: {scene.key}. {picture.name} has it, in too little detail.", picture)
    yield from _closer(scene)


def wrong_frame(scene: Scene) -> Iterator[str]:
    other = scene.other()
    yield scene.select(f"Wanted: {scene.key}. {other.name} may have it.", moment_of(other.view))
    yield scene.select(f"Not there: {scene.pictures[-1].name} does not say it.", scene.moment())
    yield from _closer(scene)


def wrong_place(scene: Scene) -> Iterator[str]:
    picture = scene.holding()
    yield scene.zoom(_here(scene, picture), picture, scene.elsewhere(picture))
    thought = f"Not there: {scene.pictures[-1].name} does not say it. Back to {picture.name}."
    yield scene.zoom(thought, picture, scene.around(picture, TIGHT))
    yield scene.answer()


def board_then_text(scene: Scene) -> Iterator[str]:
    if scene.item.meta.get("kind") == "sign by label":
        raise Unfit("which sign has the label can't be foreseen: that is a search")
    picture = scene.holding()
    board = roomy(scene.board(picture), picture.view.region)
    yield scene.zoom(_part(scene, picture), picture, board)
    picture = scene.holding()
    yield scene.zoom(_here(scene, picture), picture, roomy(scene.text(picture), picture.view.region))
    yield scene.answer()


def label_by_label(scene: Scene) -> Iterator[str]:
    label = scene.item.meta.get("label")
    known = f"Wanted: {label}. First"
    for board in boards_of(scene.item):
        picture = scene.of_board(board)
        around = roomy(Box(*board.tab), picture.view.region, BESIDE)
        yield scene.zoom(f"{known}: {picture.name}.", picture, around)
        name = scene.pictures[-1].name
        if board.label and board.label.string == label:
            break
        found = f"{board.label.string}, not {label}" if board.label else "no label"
        known = f"{name}: {found}. Next"
    part = roomy(scene.board(picture), picture.view.region)
    yield scene.zoom(f"{name}: {label}. It is in this part of {picture.name}.", picture, part)
    picture = scene.holding()
    text = roomy(scene.text(picture), picture.view.region)
    yield scene.zoom(f"Wanted: {label}. It is here in {picture.name}: look closer.", picture, text)
    yield scene.answer()


PLANS: dict[Kind, tuple[Plan, ...]] = {
    "deliberate": (frames, zoom, again),
    "compositional": (frame_then_zoom, zoom_of_zoom, detail_then_zoom, wrong_frame, wrong_place),
    "closer": (board_then_text,),
    "search": (label_by_label,),
}


class Dictation:
    """A plan in progress: what a Teacher asks for its next reply."""

    def __init__(self, plan: Plan, scene: Scene) -> None:
        self.scene = scene
        self.replies = plan(scene)

    def __call__(self, messages: Sequence[BaseMessage]) -> str:
        self.scene.pictures = tuple(pictures_in(message.content for message in messages))
        reply = next(self.replies, None)
        if reply is None:
            raise Unfit("the graph refused its answer")
        return reply


def _closer(scene: Scene) -> Iterator[str]:
    """Into the latest picture that holds it, then the answer."""
    picture = scene.holding()
    yield scene.zoom(_here(scene, picture), picture, scene.around(picture, TIGHT))
    yield scene.answer()


def _small(scene: Scene) -> str:
    return f"Wanted: {scene.key}. Too small to read in the overview."


def _part(scene: Scene, picture: Picture) -> str:
    return f"Wanted: {scene.key}. It is in this part of {picture.name}."


def _here(scene: Scene, picture: Picture) -> str:
    return f"Wanted: {scene.key}. It is here in {picture.name}: look closer."
