"""Texts of containers, callers and AWS, made fit to be stored, logged and shown. Pure."""

import re

_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""Control characters but tab and newline, lone surrogates, and what reverses the direction."""


def readable(text: str, most_characters: int) -> str:
    """`text` with U+FFFD for each character that is unfit, cut to `most_characters`."""
    return _UNFIT.sub("\ufffd", text[:most_characters])


_NEVER = re.compile(r"[\x00\ud800-\udfff]")
_VARIABLE = re.compile(r"[^\x00-\x20=\x7f-\x9f\ud800-\udfff]+")


def can_be_passed(text: str) -> bool:
    """Whether a program can be given this as an argument or the value of a variable: execve(2) ends
    texts at NUL, and lone surrogates are no UTF-8.
    """
    return not _NEVER.search(text)


def is_variable(name: str) -> bool:
    """Whether a variable of a program's environment can be called so."""
    return _VARIABLE.fullmatch(name) is not None


def is_readable(text: str) -> bool:
    """Whether `readable` leaves it as it is, however long, and it is one line."""
    return not _UNFIT.search(text) and "\n" not in text
