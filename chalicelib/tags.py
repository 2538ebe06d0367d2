"""Texts as the values of AWS tags. Pure.

Tags take letters, digits, spaces and `_ . : / = + - @`, 256 characters at most, and no value that
begins with `aws:`. https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html
"""

import hashlib
import re

GROUP, OWNER = "usher-group", "usher-owner"
MOST_CHARACTERS = 256
_PLAIN = re.compile(r"[^A-Za-z0-9_.:/+@ -]")
_DIGEST_CHARACTERS = 64


def cost_tags(*, group: str | None, owner: str | None, **more: str) -> dict[str, str]:
    """What a task is tagged with, for reports of costs; without what there is none of."""
    tags = {GROUP: group, OWNER: owner, **{f"usher-{name}": text for name, text in more.items()}}
    return {name: text for name, text in tags.items() if text}


def tag_value(text: str) -> str:
    """A text as a tag's value; no two texts have the same one.

    Characters that are no plain ones, `=` among them, become `=XX` for each byte of UTF-8, as do
    the wildcards of policies and the signs of their variables: what a policy compares or inserts is
    this and nothing else. Of a text that is too long this way, the beginning and `==` with the
    SHA-256 of the whole.
    """
    value = _PLAIN.sub(lambda found: "".join(f"={byte:02X}" for byte in found[0].encode()), text)
    if value.lower().startswith("aws:"):
        value = f"={ord(value[0]):02X}{value[1:]}"
    if value.startswith(" ") or value.endswith(" "):
        value = re.sub(r"^ | $", "=20", value)
    if len(value) <= MOST_CHARACTERS:
        return value
    digest = hashlib.sha256(text.encode()).hexdigest()
    kept = value[: MOST_CHARACTERS - _DIGEST_CHARACTERS - 2]
    return f"{kept}=={digest}"
