"""Texts of containers, callers and AWS, made fit to be stored, logged and shown. Pure."""

import re

_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""Control characters but tab and newline, lone surrogates, and what reverses the direction."""


def readable(text: str, most_characters: int) -> str:
    """`text` with U+FFFD for each character that is unfit, cut to `most_characters`."""
    return _UNFIT.sub("\ufffd", text[:most_characters])
