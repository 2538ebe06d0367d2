"""The size of an answer in Lambda, whose limit is 6 MiB. Pure.

API Gateway receives the body as a string inside a JSON document, so it is escaped twice: a control
character takes seven bytes. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

import json
from collections.abc import Iterable
from typing import Any

MOST_BYTES = 5 * 1024 * 1024
"""Limit for the large part of an answer; the rest of the answer fits into the remaining MiB."""


def escaped_bytes(value: Any) -> int:
    """Bytes that a JSON value takes in an answer's body."""
    return len(json.dumps(json.dumps(value)))


def fitting(rows: Iterable[Any], most_bytes: int = MOST_BYTES) -> int:
    """The number of leading rows that fit into one answer; at least one, if there is one."""
    bytes_left, number = most_bytes, 0
    for row in rows:
        bytes_left -= escaped_bytes(row)
        if bytes_left < 0 and number:
            break
        number += 1
    return number
