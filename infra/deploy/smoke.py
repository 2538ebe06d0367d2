"""One real session: requested, opened by a websocket, closed, and ended.

`python -m infra.deploy.smoke URL`. USHER_API_KEY is sent if the deployment needs a key.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from infra.deploy.stacks import DeployError

COLD_SECONDS = 300.0
"""Time for the first address: a host may have to be added, and the image to be pulled."""

END_SECONDS = 60.0
WAIT_SECONDS = 25
POLL_SECONDS = 1.0


def smoke(
    url: str, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> None:
    """Raises DeployError with the failure and a hint."""
    base = url.rstrip("/")
    status, health = _get(f"{base}/health")
    if status != 200:
        raise DeployError(f"GET {base}/health answers {status} {health}: read the API's log")
    if os.environ.get("USHER_API_KEY") is None and _asks_who(base):
        say("  healthy; requests need credentials, so no session was opened")
        return
    started = time.monotonic()
    session = _address(base, sleep)
    addressed = time.monotonic()
    hello = _hello(session["url"])
    opened = time.monotonic()
    say(
        f"  session {session['id']}: address after {addressed - started:.2f} s, "
        f"hello of revision {hello['revision']} {opened - addressed:.2f} s later"
    )
    ended = _end(base, session["id"], sleep)
    say(f"  it ended as {ended['reason']}")


def _asks_who(base: str) -> bool:
    status, _ = _get(f"{base}/sessions/00000000-0000-4000-8000-000000000000")
    return status in {401, 403}


def _address(base: str, sleep: Callable[[float], None]) -> dict[str, Any]:
    deadline = time.monotonic() + COLD_SECONDS
    status, body = _get(f"{base}/session?wait={WAIT_SECONDS}")
    while status == 202 and time.monotonic() < deadline:
        sleep(float(body.get("retryAfter", POLL_SECONDS)))
        status, body = _get(f"{base}/sessions/{body['id']}")
    if status != 200 or "url" not in body:
        raise DeployError(
            f"no session came: {status} {json.dumps(body)}. The record's history and the log of "
            "`task_changed` tell how far it got"
        )
    return body


def _hello(url: str) -> dict[str, Any]:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    try:
        with connect(url, open_timeout=20) as websocket:
            hello = json.loads(websocket.recv(timeout=20))
    except (OSError, TimeoutError, WebSocketException) as error:
        raise DeployError(
            f"the container's websocket does not open: {error!r}. Is the port range open "
            "(ClientCidr, Access), and has the host a public address?"
        ) from error
    if hello.get("type") != "hello":
        raise DeployError(f"the container says {hello.get('type')!r} first, not hello")
    return dict(hello)


def _end(base: str, session_id: str, sleep: Callable[[float], None]) -> dict[str, Any]:
    deadline = time.monotonic() + END_SECONDS
    while True:
        _, body = _get(f"{base}/sessions/{session_id}")
        if body.get("state") == "ENDED":
            return body
        if time.monotonic() > deadline:
            raise DeployError(
                f"session {session_id} is still {body.get('state')} a minute after its client "
                "left: the container's callbacks or ECS's events do not arrive"
            )
        sleep(POLL_SECONDS)


def _get(url: str) -> tuple[int, dict[str, Any]]:
    key = os.environ.get("USHER_API_KEY")
    headers = {} if key is None else {"X-Api-Key": key}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=40) as a:  # noqa: S310
            return a.status, dict(json.loads(a.read()))
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _document(error.read())
    except OSError as error:
        raise DeployError(f"{url} does not answer: {error}") from error


def _document(body: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(body))
    except ValueError:
        return {"body": body.decode("utf-8", "replace")[:500]}


def main() -> int:
    """The command line."""
    try:
        smoke(sys.argv[1], lambda line: print(line, file=sys.stderr))
    except DeployError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
