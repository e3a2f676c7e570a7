"""The errors a user can meet, each with the exit code the command ends with.

Promises: every error says what was found, what is allowed, and what to do next, in one line.
Does not: wrap bugs. An exception that is not one of these is a defect and shows its traceback.
"""


class R4Error(Exception):
    """Base of every error that r4agent raises on purpose."""

    exit_code = 5


class UsageError(R4Error, ValueError):
    """An argument is wrong: a bad budget key, an unknown policy, a box outside its picture."""

    exit_code = 2


class MediaError(R4Error):
    """The media cannot be used: missing, cut, hostile, too large, or not of a kind we open."""

    exit_code = 3


class MissingError(R4Error):
    """Something needed is not installed or not there; the message names the command to run."""

    exit_code = 4


class RunError(R4Error):
    """The run itself failed: the policy or its engine raised, or a log could not be written."""

    exit_code = 5


def printable(text: str) -> str:
    """Text that cannot drive a terminal: control and direction characters are spelt out."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def one_line(error: BaseException, limit: int = 300) -> str:
    """The error's text, printable, on one line of at most `limit` characters. What is too long loses its
    middle: the end says what to do."""
    text = printable(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= limit else f"{text[: limit // 2]}…{text[len(text) - (limit - 1) // 2 :]}"
