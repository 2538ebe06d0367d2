"""How large an answer becomes on its way through Lambda, which takes 6 MiB. Pure.

API Gateway gets the body as a string inside of a JSON document, so it is escaped twice: a control
character takes seven bytes. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

import json
from collections.abc import Iterable
from typing import Any

MOST_BYTES = 5 * 1024 * 1024
"""Of what makes an answer long; the rest is for what is around it."""


def escaped_bytes(value: Any) -> int:
    """What a JSON value takes as a part of an answer's body."""
    return len(json.dumps(json.dumps(value)))


def fitting(rows: Iterable[Any], most_bytes: int = MOST_BYTES) -> int:
    """How many of the first rows one answer can have; at least one, if there is one."""
    bytes_left, number = most_bytes, 0
    for row in rows:
        bytes_left -= escaped_bytes(row)
        if bytes_left < 0 and number:
            break
        number += 1
    return number
