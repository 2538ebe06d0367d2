"""Removes internal details from ECS's texts before clients receive them. Pure.

Reasons of ECS and Docker name the account, its resources, the registry and internal addresses. The
complete text is logged; records and answers have the filtered one.
"""

import re

_NAME = r"(?:[a-z0-9_-]+\.)+[a-z][a-z0-9-]+"
_START, _PATH = r"(?<![\w.-])", r"/[^\s\"',;)]*[^\s\"',;:.)]"
_FOUR = r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.-]*\w)"
_PARTS = (
    (r"arn:aws[\w-]*:\S*[\w*]", "[arn]"),
    # bounded, because it is tried at each character
    (r"[a-z][a-z0-9+.-]{0,15}://[^\s\"'>)]+", "[url]"),
    (rf"{_START}{_NAME}(?::[0-9]+)?{_PATH}", "[image]"),
    (rf"{_START}{_NAME}:[0-9]+\b", "[host]"),
    (rf"{_START}localhost(?::[0-9]+)?(?:{_PATH})?", "[host]"),
    (r"(?<=\blookup )[\w.-]+", "[host]"),
    (r"\bip-[0-9]+(?:-[0-9]+){3}(?:\.[\w.-]+)?", "[host]"),
    (rf"{_START}{_FOUR}(?::[0-9]+)?(?:{_PATH})?", "[address]"),
    (r"\[[0-9a-f:]+\](?::[0-9]+)?", "[address]"),
    (r"(?<![\w:.])(?:[0-9a-f]{1,4}:){4,7}[0-9a-f]{1,4}(?![\w:])", "[address]"),
    (r"(?<![0-9a-z])[0-9]{12}(?![0-9a-z])", "[account]"),
    (r"\b(?:i|eni|subnet|sg|vpc|vol|fs|fsap|lt|acl)-[0-9a-f]{8,17}\b", "[resource]"),
)
_PATTERN = re.compile("|".join(f"({pattern})" for pattern, _ in _PARTS), re.IGNORECASE)


def for_clients(text: str) -> str:
    """`text` without ARNs, account ids, resource ids, registry hosts, URLs and addresses."""
    return _PATTERN.sub(lambda found: _PARTS[(found.lastindex or 1) - 1][1], text)
