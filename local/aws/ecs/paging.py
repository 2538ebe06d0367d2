"""Pages of List actions. A token names the last item of the page before, so that items which
come and go between two pages neither repeat nor hide others.
"""

import base64
import binascii
from collections.abc import Callable, Iterable
from typing import TypeVar

from local.aws.ecs.errors import invalid_parameter

Item = TypeVar("Item")


def page(
    items: Iterable[Item],
    key: Callable[[Item], str],
    *,
    max_results: int | None,
    next_token: str | None,
    descending: bool = False,
) -> tuple[list[Item], str | None]:
    """One page of the items in the order of their keys, and the token of the next one."""
    size = 100 if max_results is None else max_results
    if not 1 <= size <= 100:
        raise invalid_parameter("maxResults must be between 1 and 100.")
    rest = sorted(items, key=key, reverse=descending)
    if next_token is not None:
        last = _decode(next_token)
        rest = [item for item in rest if (key(item) < last if descending else key(item) > last)]
    shown = rest[:size]
    return shown, _encode(key(shown[-1])) if len(rest) > size else None


def _encode(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _decode(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as error:
        raise invalid_parameter("Invalid token") from error
