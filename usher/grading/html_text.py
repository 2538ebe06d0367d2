"""Reduces the HTML of an author's feedback to its text, in time that grows with its length only.

`html.parser` of Python takes hours for a megabyte of `<a `, and fails on `<![`. Pure.
"""

import contextlib
import html
import re

_SILENT = ("script", "style")
"""Elements whose content is not shown."""
_LINES = frozenset(
    {"br", "div", "h1", "h2", "h3", "h4", "h5", "h6", "li", "p", "pre", "table", "tr", "ul", "ol"}
)
_MARKUP = re.compile(r"<(?:!--|/?([A-Za-z][A-Za-z0-9]{0,20})|[!?/])")
"""The beginning of a comment, a tag, or a declaration; a bare `<` is text."""


def plain_text(source: str) -> str:
    """The text, line by line. Markup that does not end is left out with all that follows it."""
    lowered = source.translate(_LOWER)  # as long as the source, unlike lower()
    parts: list[str] = []
    place = 0
    while place < len(source):
        found = _MARKUP.search(source, place)
        start = len(source) if found is None else found.start()
        parts.append(_unescaped(source[place:start]))
        if found is None:
            break
        name = (found[1] or "").lower()
        parts.append("\n" if name in _LINES else "")
        place = _after(lowered, "-->" if found[0] == "<!--" else ">", found.end())
        if name in _SILENT and not found[0].startswith("</"):
            place = _after(lowered, ">", lowered.find(f"</{name}", place))
    lines = (line.strip() for line in "".join(parts).splitlines())
    return "\n".join(line for line in lines if line)


_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def _after(source: str, end: str, place: int) -> int:
    """The place after the next `end`, or the end of the source; -1 is no place."""
    found = -1 if place < 0 else source.find(end, place)
    return len(source) if found < 0 else found + len(end)


def _unescaped(text: str) -> str:
    """Character references replaced, unless one has more digits than Python reads."""
    with contextlib.suppress(ValueError):
        return html.unescape(text)
    return text
