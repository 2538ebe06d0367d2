"""Converts texts to values of AWS tags. Pure.

Values may have letters, digits, spaces and `_ . : / = + - @`, at most 256 characters, and must not
begin with `aws:`.
https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html
"""

import hashlib
import re

GROUP, OWNER = "usher-group", "usher-owner"
MOST_CHARACTERS = 256
_PLAIN = re.compile(r"[^A-Za-z0-9_.:/+@ -]")
_DIGEST_CHARACTERS = 64


def cost_tags(*, group: str | None, owner: str | None, **more: str) -> dict[str, str]:
    """The cost allocation tags of a task; missing values have no tag."""
    tags = {GROUP: group, OWNER: owner, **{f"usher-{name}": text for name, text in more.items()}}
    return {name: text for name, text in tags.items() if text}


def tag_value(text: str) -> str:
    """An injective mapping of texts to tag values.

    Characters that tags do not allow, and `=`, become `=XX` for each byte of UTF-8. So do the
    wildcards and variables of IAM policies, so that a policy which compares or inserts the value
    matches only this one. If the result is too long, its beginning is followed by `==` and the
    SHA-256 of the text.
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
