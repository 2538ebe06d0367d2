"""Admission: the answer to each HTTP request at the container's only port. Pure.

Requests without the UUID get only `/healthz`: any other path has the same 404, and paths are
compared in constant time.
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import parse_qs

from session_handler.cursor import Cursor, CursorError

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
SCRIPT = "text/javascript; charset=utf-8"

MAX_CURSOR_PARAMETERS = 4
WEBSOCKET_VERSION = "13"


class Request(NamedTuple):
    """The relevant parts of a GET request. Header values are repeated as often as the client sent
    them.
    """

    target: str
    """The request target as sent: path and query, or in absolute form a URL (RFC 9112, 3.2.2)."""
    origins: Sequence[str]
    wants_websocket: bool
    websocket_versions: Sequence[str] = (WEBSOCKET_VERSION,)
    http_version: str = "HTTP/1.1"


class Answer(NamedTuple):
    """A plain HTTP answer."""

    status: int
    content_type: str
    body: str
    headers: Mapping[str, str] = {}


class Health(NamedTuple):
    """Answer with the health of the session."""

    pings_client: bool = False
    """Whether a connected client is pinged first."""


class Script(NamedTuple):
    """Answer with client.js."""

    headers: Mapping[str, str]


class Admit(NamedTuple):
    """Open the websocket, and resume after `cursor` if there is one."""

    cursor: Cursor | None


Decision = Answer | Health | Script | Admit

NOT_FOUND = Answer(404, TEXT, "Not found\n")
METHOD_NOT_ALLOWED = Answer(405, TEXT, "Only GET is understood\n", {"Allow": "GET"})
HEAD_TOO_LARGE = Answer(431, TEXT, "Request header fields too large\n")
BAD_REQUEST = Answer(400, TEXT, "Not a GET request alone\n")
BAD_ORIGIN = Answer(403, TEXT, "This origin may not connect\n")
OCCUPIED = Answer(409, TEXT, "This session has its client\n")
WRONG_VERSION = Answer(
    426,
    TEXT,
    "Only version 13 of the websocket protocol is understood\n",
    {
        "Sec-WebSocket-Version": WEBSOCKET_VERSION,
        "Upgrade": "websocket",
        "Connection": "Upgrade, close",
    },
)
"""RFC 6455, 4.2.2 and 4.4; RFC 9110, 15.5.22."""
HTTP_VERSION = Answer(505, TEXT, "Only HTTP/1.1 is understood here\n")
OVER = Answer(410, TEXT, "This session is over\n")


class Gate:
    """The rules of one session. `allowed_origins` of None allows all origins."""

    def __init__(self, uuid: str, allowed_origins: frozenset[str] | None) -> None:
        self._websocket_path = f"/{uuid}".encode()
        self._script_path = f"/{uuid}/client.js".encode()
        self._allowed_origins = allowed_origins

    def decide(self, request: Request, *, is_occupied: bool, is_over: bool) -> Decision:
        """The decision. An Admit must still be a valid websocket handshake."""
        path, _, query = origin_form(request.target).partition("?")
        raw_path = path.encode("utf-8", "surrogateescape")
        # Both are always compared, so that the time reveals nothing about either.
        is_websocket = hmac.compare_digest(raw_path, self._websocket_path)
        is_script = hmac.compare_digest(raw_path, self._script_path)
        if path == "/healthz":
            return Health(pings_client="ping" in query.split("&"))
        if is_script:
            return Script(self._script_headers(request))
        if not is_websocket:
            return NOT_FOUND
        return self._admit(request, query, is_occupied=is_occupied, is_over=is_over)

    def _admit(
        self, request: Request, query: str, *, is_occupied: bool, is_over: bool
    ) -> Answer | Admit:
        if not self._lets_in(request.origins):
            return BAD_ORIGIN
        try:
            cursor = cursor_of(query)
        except CursorError as exc:
            return Answer(400, TEXT, f"Bad cursor: {exc}\n")
        if request.wants_websocket and request.http_version != "HTTP/1.1":
            return HTTP_VERSION
        if request.wants_websocket and list(request.websocket_versions) != [WEBSOCKET_VERSION]:
            return WRONG_VERSION
        if request.wants_websocket and (is_over or is_occupied):
            return OVER if is_over else OCCUPIED
        return Admit(cursor)

    def _lets_in(self, origins: Sequence[str]) -> bool:
        if not origins or self._allowed_origins is None:
            return len(origins) < 2
        return len(origins) == 1 and origins[0].lower() in self._allowed_origins

    def _script_headers(self, request: Request) -> dict[str, str]:
        """Modules are loaded across origins only with CORS headers."""
        headers = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}
        if self._allowed_origins is None:
            return {**headers, "Access-Control-Allow-Origin": "*"}
        headers["Vary"] = "Origin"
        if request.origins and self._lets_in(request.origins):
            headers["Access-Control-Allow-Origin"] = request.origins[0]
        return headers


def origin_form(target: str) -> str:
    """Path and query of a request target; scheme and authority of an absolute form are removed."""
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in {"http", "https", "ws", "wss"}:
        return target
    found = re.search(r"[/?]", rest)
    place = rest[found.start() :] if found else ""
    return place if place.startswith("/") else f"/{place}"


def cursor_of(query: str) -> Cursor | None:
    """The cursor in a query string; an empty one is ignored. Raises CursorError."""
    try:
        values = parse_qs(query, max_num_fields=MAX_CURSOR_PARAMETERS, errors="strict")
    except ValueError as exc:
        raise CursorError("the query is not understood") from exc
    cursors = values.get("cursor", [])
    if len(cursors) > 1:
        raise CursorError("more than one")
    return Cursor.parse(cursors[0]) if cursors else None
