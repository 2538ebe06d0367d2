"""The operators' console: one document at every path below `/console`, its script, and who asks.

The document and the script have nothing of anybody in them, so they need no key. The script sends
the caller's key with each request for data, and the routes of the data decide what it may.
"""

import base64
import hashlib
import html
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from chalice.app import Blueprint, Response

from chalicelib.api.http import answer, answering, authorizer_for, known_caller_of, own_path, takes
from chalicelib.config import authorization, stage
from chalicelib.errors import NotFoundError
from chalicelib.fields import Field
from chalicelib.wiring import services

IF_NONE_MATCH = Field(
    "If-None-Match", {"type": "string"}, "entity tags", "The ETag of what the browser has."
)
routes = Blueprint(__name__)

AUTHORIZER = authorizer_for(*authorization())
FOLDER = Path(__file__).parents[1] / "console" / "page"
MODULES = (
    "text",
    "elements",
    "client",
    "views",
    "invocations",
    "sessions",
    "jobs",
    "schedules",
    "apps",
    "audit",
    "home",
    "main",
)
"""The parts of the script in the order in which they are joined: each uses those before it."""
SCRIPT = "console.js"
_IMPORT = re.compile(r"^import \{[^}]*\} from \"\./\w+\.js\";\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(async )?(function|const|class) )", re.MULTILINE)


@dataclass(frozen=True)
class File:
    """A text and its entity tag. API Gateway compresses, so the tag is a weak one."""

    text: str
    tag: str


@routes.route("/console", methods=["GET"])
@takes(headers=(IF_NONE_MATCH,), ignores_others=True)
def home() -> Response:
    """The console's first page."""
    return _document()


@routes.route("/console/{page}", methods=["GET"])
@takes(headers=(IF_NONE_MATCH,), ignores_others=True)
def page(page: str) -> Response:  # noqa: ARG001 - the script reads it from the address
    """A page of the console."""
    return _document()


@routes.route("/console/{page}/{record}", methods=["GET"])
@takes(headers=(IF_NONE_MATCH,), ignores_others=True)
def record(page: str, record: str) -> Response:  # noqa: ARG001
    """The page of one record."""
    return _document()


@routes.route("/console/files/{name}", methods=["GET"])
@answering
@takes(headers=(IF_NONE_MATCH,), ignores_others=True)
def file(name: str) -> Response:
    """The script of the console."""
    if name != SCRIPT:
        raise NotFoundError("the console has no such file")
    script = tagged(read_script())
    return _cacheable(script, "text/javascript; charset=utf-8", {})


@routes.route("/whoami", methods=["GET"], authorizer=AUTHORIZER)
@answering
def whoami() -> Response:
    """Who the caller is and what it may do."""
    caller = known_caller_of(routes.current_request, services().config)
    return answer({"owner": caller.owner, "role": caller.role.value, "stage": stage()})


def _document() -> Response:
    script = own_path(routes.current_request, f"/console/files/{SCRIPT}")
    text, policy = render_document(script)
    headers = {
        "Content-Security-Policy": policy,
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }
    return _cacheable(tagged(text), "text/html; charset=utf-8", headers)


def _cacheable(found: File, content_type: str, headers: dict[str, str]) -> Response:
    """The file, or a 304 where the browser has it: it asks each time."""
    headers = headers | {
        "Cache-Control": "private, no-cache",
        "Content-Type": content_type,
        "Cross-Origin-Resource-Policy": "same-origin",
        "ETag": found.tag,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    known = routes.current_request.headers.get(IF_NONE_MATCH.name.lower(), "")
    if found.tag in [tag.strip() for tag in known.split(",")]:
        return Response("", status_code=304, headers=headers)
    return Response(found.text, headers=headers)


def render_document(script: str) -> tuple[str, str]:
    """The document that loads `script`, and the Content-Security-Policy that fits it."""
    style = (FOLDER / "console.css").read_text("utf-8")
    mode, _ = authorization()
    values = {
        "SCRIPT": script,
        "MODE": "" if mode is None else mode.value,
        "STAGE": stage(),
    }
    text = (FOLDER / "console.html").read_text("utf-8")
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", html.escape(value))
    return text.replace("/* console.css */", style), content_security_policy(style)


@cache
def read_script() -> str:
    """The parts as one module: imports between them go, and exports are plain declarations."""
    parts = [(FOLDER / f"{name}.js").read_text("utf-8") for name in MODULES]
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", part)) for part in parts)


def tagged(text: str) -> File:
    """The text with its entity tag."""
    return File(text, f'W/"{hashlib.sha256(text.encode()).hexdigest()[:32]}"')


def content_security_policy(style: str) -> str:
    """Forbid everything but the script and data of this origin, and the one style inline.

    Trusted Types make writing HTML from the script an error.
    """
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            f"style-src 'sha256-{digest}'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )
