"""The warm pools of a run that has just started: how many containers wait in them."""

import time
from collections.abc import Callable, Mapping
from typing import Any

WARM_SECONDS = 20.0
"""Time that the start waits for the pools; later containers become warm in the background."""

POLL_SECONDS = 0.1


def pools_of(environment: Mapping[str, str]) -> dict[str, int]:
    """The apps with a pool, and its minimum, as a dispatcher with this environment sees them.

    Raises ConfigurationError.
    """
    from chalicelib.config import load_config

    apps = load_config(environment).apps.by_name.values()
    return {app.name: app.pool.minimum for app in apps if app.pool.minimum}


def count_warm(environment: Mapping[str, str], dynamodb: Any, app: str) -> int:
    """The number of warm containers of an app. `dynamodb` is a boto3 client."""
    from chalicelib.config import load_config
    from chalicelib.dynamodb.records import only_readable
    from chalicelib.sessions.model import State
    from chalicelib.sessions.table import SessionsTable

    table = SessionsTable(dynamodb, load_config(environment).sessions_table)
    _, members = table.query_all(app)
    return sum(member.state is State.WARM for member in only_readable(members))


def wait_until_warm(
    pools: Mapping[str, int],
    count: Callable[[str], int],
    *,
    pause: Callable[[float], object],
    say: Callable[[str], None],
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Return when each pool has its minimum, or the time is over; reports progress.

    `pause(seconds)` waits, and raises when the run is to end.
    """
    deadline = now() + WARM_SECONDS
    for app, minimum in pools.items():
        seen = -1
        while (warm := count(app)) < minimum:
            if now() > deadline:
                say(f"pool of {app}: {warm} of {minimum} are warm, the others follow")
                break
            if warm != seen:
                say(f"pool of {app}: {warm} of {minimum} are warm")
                seen = warm
            pause(POLL_SECONDS)
