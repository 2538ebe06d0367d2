"""The websocket's messages: text frames of JSON, as docs/contracts.md describes them."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from chalicelib.contract import Bye, Message

MAX_CLIENT_MESSAGE_BYTES = 64 * 1024

CLOSE_NORMAL = 1000
CLOSE_GOING_AWAY = 1001
CLOSE_UNSUPPORTED_DATA = 1003
CLOSE_INVALID_DATA = 1007
CLOSE_POLICY_VIOLATION = 1008
CLOSE_INTERNAL_ERROR = 1011
CLOSE_TRY_AGAIN_LATER = 1013


class BadMessageError(Exception):
    """The client sent a message that the contract does not allow; `code` is the close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def _encode(message: Mapping[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"), allow_nan=False)


def hello(
    *,
    session: str,
    app: str,
    revision: str,
    feed: str | None,
    grace_seconds: float,
    cursor: str | None,
) -> str:
    """The first message. `feed` and `cursor` are null for a session without a feed; `grace_seconds`
    is the time for which the container waits for a disconnected client.
    """
    return _encode(
        {
            "type": Message.HELLO,
            "session": session,
            "app": app,
            "revision": revision,
            "feed": feed,
            "graceSeconds": grace_seconds,
            "cursor": cursor,
        }
    )


def records(encoded: Iterable[str], cursor: str) -> str:
    """Records, each serialized to JSON, and the cursor after the last of them."""
    return f'{{"type":"records","records":[{",".join(encoded)}],"cursor":"{cursor}"}}'


def gap(shards: Iterable[str], cursor: str) -> str:
    """History that the client's cursor refers to is missing from these shards."""
    return _encode({"type": Message.GAP, "shards": list(shards), "cursor": cursor})


def bye(reason: Bye, *, cursor: str | None, detail: str = "") -> str:
    """The last message before a close: the reason, and the position from which another session
    would continue.
    """
    message: dict[str, Any] = {"type": Message.BYE, "reason": reason, "cursor": cursor}
    if detail:
        message["detail"] = detail
    return _encode(message)


def app(message: Mapping[str, Any]) -> str:
    """A session app's message to its client. Raises ValueError or TypeError for values that are not
    JSON.
    """
    return _encode({**message, "type": Message.APP})


def decode_client_message(frame: str | bytes) -> dict[str, Any]:
    """The client's message for the session app, without its type. Raises BadMessageError."""
    if isinstance(frame, bytes):
        raise BadMessageError(CLOSE_UNSUPPORTED_DATA, "binary frames are not understood")
    try:
        message = json.loads(frame)
    except (ValueError, RecursionError):
        raise BadMessageError(CLOSE_INVALID_DATA, "not JSON") from None
    if not isinstance(message, dict) or message.pop("type", None) != Message.APP:
        raise BadMessageError(CLOSE_POLICY_VIOLATION, 'messages have the type "app"')
    return message
