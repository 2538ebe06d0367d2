"""`GET /`: the demo page, and `GET /demo/{name}`: the parts it imports.

The page asks the dispatcher it came from for a session and imports the client library from the
container it gets, whose address nobody knows beforehand: hence the open hosts in the policy below.
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
    """The document, and the Content-Security-Policy that fits it; files are read once a process."""
    style = (FOLDER / "page.css").read_text("utf-8")
    html = (FOLDER / "page.html").read_text("utf-8").replace(STYLE_PLACE, style)
    start = _between(html, '<script type="module">', "</script>")
    return html, content_security_policy(script=start, style=style)


@cache
def read_parts() -> dict[str, str]:
    paths = (path for path in FOLDER.iterdir() if path.suffix in CONTENT_TYPES)
    return {path.name: path.read_text("utf-8") for path in paths}


def content_security_policy(*, script: str, style: str) -> str:
    """Forbid everything, then allow what the page does.

    Any host may be imported from and connected to, because a session container may have any
    address; inline code must be exactly the one script and the one style of the document.
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
