"""Credits that roll up through a panel: a role and a name on each row.

Promises: each role and each name stands once; roles resemble each other. Does not: stop.
"""

from random import Random

from r4agent.textworld.facts import SURNAMES, twin
from r4agent.textworld.motion import contrast, tiny
from r4agent.textworld.stage import Frames, Stage
from r4agent.textworld.words import CODE_LETTERS
from r4agent.textworld.world import Corners

TRADES = ("Sound", "Light", "Camera", "Costume", "Script", "Colour", "Music", "Set")
RANKS = ("editor", "designer", "assistant", "supervisor", "operator", "mixer")
LEAD = ("", "First ", "Second ", "Deputy ")


def credits(stage: Stage, rng: Random, frames: Frames, area: Corners) -> None:
    """Roll through `area` for all of `frames`."""
    inset = rng.randint(10, 60)
    view = area[0] + inset, area[1] + inset, area[2] - inset, area[3] - inset
    ground, ink = contrast(rng)
    stage.shape(frames, view, ground)
    style = tiny(rng, ink, view, 11, 16)
    speed = rng.randint(2, 5) * 20 // stage.fps  # pixels a frame
    step = round(style.line * rng.uniform(1.3, 1.8))
    start = view[3] - rng.randint(0, (view[3] - view[1]) // 2)
    count = (frames[1] - frames[0]) * speed // step + (view[3] - start) // step
    cast = _cast(rng, min(count, 60))
    widest = max(style.width(role) for role, _ in cast)
    middle = max((view[0] + view[2]) // 2, view[0] + widest + 24)
    for row, (role, name) in enumerate(cast):
        texts: list[int] = []
        for frame in range(*frames):
            base = start + row * step - (frame - frames[0]) * speed
            if not view[1] < base < view[3] + style.size:
                continue
            span, right = (frame, frame + 1), (middle - 14 - style.width(role), base)
            if texts:
                stage.again(texts[0], span, right)
                stage.again(texts[1], span, (middle + 14, base))
            else:
                texts = [
                    stage.text(span, right, role, style, "credit role", role),
                    stage.text(span, (middle + 14, base), name, style, "credit name", role, _trade(role)),
                ]
        if texts:
            stage.ask(
                f"According to the credits, who is the '{role}'?", "credit", texts[1], beside=(texts[0],)
            )


def _trade(role: str) -> str:
    """Roles of one trade are easily taken for each other."""
    return next(f"credit {trade}" for trade in TRADES if trade.lower() in role.lower())


def _cast(rng: Random, count: int) -> list[tuple[str, str]]:
    """Different roles, those of a trade together, with different names."""
    names: list[str] = []
    while len(names) < count:
        near = names and rng.random() < 0.2
        name = twin(rng, names[-1]) if near else f"{rng.choice(CODE_LETTERS)}. {rng.choice(SURNAMES)}"
        if name not in names:
            names.append(name)
    trades = rng.sample(TRADES, len(TRADES))
    roles = [
        f"{lead}{trade.lower() if lead else trade} {rank}"
        for trade in trades
        for lead, rank in rng.sample([(lead, rank) for lead in LEAD for rank in RANKS], 8)
    ]
    return list(zip(roles, names, strict=False))
