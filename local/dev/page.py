"""The pages of a session app under development, on a loopback port of their own.

/             index.html of the app's folder `page/`, and what else is in it
/usher.js     the client library of the session image, and the dispatcher's address
"""

import json
import mimetypes
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote

from local.access import AccessRule, hosts_at
from local.aws.http_server import HttpServer
from local.aws.wire import Answer, Request

CLIENT = Path(__file__).parents[2] / "session_handler" / "client.js"
MAX_BYTES = 32 * 1024 * 1024
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_TEXT = "text/plain; charset=utf-8"
_SCRIPT = "text/javascript; charset=utf-8"


def start_page_server(
    listener: socket.socket, folder: Path, dispatcher: Callable[[], str]
) -> HttpServer:
    """Serve the files of `folder` on a listening socket until `close`, to this machine and the
    pages themselves only. `dispatcher` returns the dispatcher's URL.
    """

    def answer(request: Request) -> Answer:
        return answer_page(request, folder, dispatcher())

    rule = AccessRule(hosts_at(listener.getsockname()[1]), pages=True)
    server = HttpServer(listener, answer, rule)
    server.start()
    return server


def answer_page(request: Request, folder: Path, dispatcher: str) -> Answer:
    """The answer to one request. Files outside of `folder`, links included, are not there."""
    if request.method not in {"GET", "HEAD"}:
        return _answer(405, b"only GET and HEAD\n", _TEXT, {"Allow": "GET, HEAD"})
    if request.path == "/usher.js":
        address = f"export const dispatcher = {json.dumps(dispatcher)};\n"
        return _answer(200, CLIENT.read_bytes() + address.encode(), _SCRIPT)
    name = unquote(request.path).lstrip("/") or "index.html"
    root = folder.resolve()
    try:
        file = (root / name).resolve()
        if not file.is_relative_to(root) or not file.is_file() or file.stat().st_size > MAX_BYTES:
            return _answer(404, f"no {name} in {folder}\n".encode(), _TEXT)
        body = file.read_bytes()
    except (OSError, ValueError):  # a name that no file can have, or one that may not be read
        return _answer(404, b"no such file\n", _TEXT)
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return _answer(200, body, f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)


def _answer(
    status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
) -> Answer:
    return Answer(status, {**_HEADERS, "Content-Type": content_type, **(headers or {})}, body)
