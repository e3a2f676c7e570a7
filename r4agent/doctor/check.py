"""A Check: one finding of the doctor's.

Promises: whatever a probe raises becomes a finding, never a traceback.
Does not: know what is probed.
"""

from collections.abc import Callable
from dataclasses import dataclass

from r4agent.errors import R4Error, one_line


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was checked, whether it is well, what was found, and what to do if it is not. ok is
    None where it was not looked at."""

    name: str
    ok: bool | None
    found: str
    todo: str = ""


class NotWell(Exception):
    """What a probe found wrong, and what to do."""

    def __init__(self, found: str, todo: str) -> None:
        super().__init__(found)
        self.todo = todo


def check(name: str, probe: Callable[[], str], todo: str = "") -> Check:
    """The finding of a probe, which returns what it found. todo: for failures that don't say it."""
    try:
        return Check(name, True, probe())
    except NotWell as found:
        return Check(name, False, one_line(found, 500), found.todo)
    except (R4Error, AssertionError) as error:  # ours say what to do, asserts what they found
        return Check(name, False, one_line(error, 500), "" if isinstance(error, R4Error) else todo)
    except Exception as error:  # whatever it is, it is a finding
        return Check(name, False, f"{type(error).__name__}: {one_line(error)}", todo)
