"""`GET /`: the demo page, and `GET /demo/{name}`: the modules that it imports.

The page requests a session from the dispatcher that served it and imports the client library from
the session's container. The container's address is not known in advance; therefore the policy below
allows all hosts.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path

from chalice.app import Blueprint, Response

from chalicelib.api.http import answering, takes
from chalicelib.errors import NotFoundError

routes = Blueprint(__name__)

FOLDER = Path(__file__).parents[1] / "demo" / "page"
CONTENT_TYPES = {".js": "text/javascript; charset=utf-8"}
STYLE_PLACE = "/* page.css */"


@routes.route("/", methods=["GET"])
@takes(ignores_others=True)
def page() -> Response:
    """The page as one HTML document with its style inside."""
    html, policy = render_page()
    return Response(
        html,
        headers=common_headers()
        | {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy},
    )


@routes.route("/demo/{name}", methods=["GET"])
@answering
@takes(ignores_others=True)
def part(name: str) -> Response:
    """A script of the page."""
    text = read_parts().get(name)
    if text is None:
        raise NotFoundError("the page has no such part")
    content_type = CONTENT_TYPES[Path(name).suffix]
    return Response(text, headers=common_headers() | {"Content-Type": content_type})


def common_headers() -> dict[str, str | list[str]]:
    return {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }


@cache
def render_page() -> tuple[str, str]:
    """The document and its Content-Security-Policy; files are read once in a process."""
    style = (FOLDER / "page.css").read_text("utf-8")
    html = (FOLDER / "page.html").read_text("utf-8").replace(STYLE_PLACE, style)
    start = _between(html, '<script type="module">', "</script>")
    return html, content_security_policy(script=start, style=style)


@cache
def read_parts() -> dict[str, str]:
    paths = (path for path in FOLDER.iterdir() if path.suffix in CONTENT_TYPES)
    return {path.name: path.read_text("utf-8") for path in paths}


def content_security_policy(*, script: str, style: str) -> str:
    """The policy forbids everything but what the page needs.

    Imports from and connections to any host are allowed, because a session container may have any
    address. Inline code is restricted by hashes to the document's script and style.
    """
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src 'self' http: https: {_source_hash(script)}",
            f"style-src {_source_hash(style)}",
            "connect-src 'self' http: https: ws: wss:",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _source_hash(inline: str) -> str:
    digest = hashlib.sha256(inline.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]
