"""Makes texts of containers, callers and AWS safe to store, log and display. Pure."""

import re

_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""Control characters except tab and newline, lone surrogates, and characters that change the
writing direction."""


def readable(text: str, most_characters: int) -> str:
    """`text` with U+FFFD for each unsafe character, cut to `most_characters`."""
    return _UNFIT.sub("\ufffd", text[:most_characters])


_NEVER = re.compile(r"[\x00\ud800-\udfff]")
_VARIABLE = re.compile(r"[^\x00-\x20=\x7f-\x9f\ud800-\udfff]+")


def can_be_passed(text: str) -> bool:
    """Whether a program can receive this text as an argument or variable: execve(2) ends texts at
    NUL, and lone surrogates have no UTF-8.
    """
    return not _NEVER.search(text)


def is_variable(name: str) -> bool:
    """Whether an environment variable can have this name."""
    return _VARIABLE.fullmatch(name) is not None


def is_readable(text: str) -> bool:
    """Whether it is one line and `readable` would not replace any of its characters."""
    return not _UNFIT.search(text) and "\n" not in text
