"""What a run tells those who stream it with `stream_mode="custom"`: plain dicts, by their key `event`.

    opened   media, kind, count, duration          the media is open
    turn     turn, step                            the policy has replied: a tool's name, or how it ended
    frame    frame, time, size                     a whole frame was chosen
    region   of, box, frame, time, size            a region of a picture will be read; box in source pixels
    answer   answer, status                        the run has ended

Promises: references and numbers only, never pixels.
Does not: log; the episode does.
"""

from typing import Any

from langgraph.config import get_stream_writer

from r4agent.media.view import View


def emit(event: str, **data: Any) -> None:
    """Tell an event to whoever streams."""
    get_stream_writer()({"event": event, **data})


def announce(view: View, *, of: str | None) -> None:
    """Tell a View that was chosen; of: the picture it is a region of, if it is one."""
    get_stream_writer()(chosen(view, of=of))


def chosen(view: View, *, of: str | None) -> dict[str, Any]:
    """The event of a View that was chosen."""
    place = {"frame": view.frame, "time": view.time, "size": str(view.size)}
    if of is None:
        return {"event": "frame", **place}
    return {"event": "region", "of": of, "box": [round(v) for v in view.region.corners], **place}
