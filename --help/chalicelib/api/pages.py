"""HTML pages of the dispatcher: documents, scripts and their headers.

Documents and scripts contain no data of callers and therefore need no key. The script sends the
caller's key with each request for data, and the routes of the data check it.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from chalice.app import Response

from chalicelib.api.changes import is_known, tag_of
from chalicelib.api.http import own_path
from chalicelib.config import authorization, sign_in_page, stage
from chalicelib.fields import Field

ACCEPT = Field(
    "Accept",
    {"type": "string"},
    "media types",
    "With `text/html`, and without `application/json`, the answer is a page for people.",
)
FOLDER = Path(__file__).parents[1] / "console" / "page"


@dataclass(frozen=True)
class Pages:
    """Pages that share one document and one script."""

    title: str
    script: str
    """The name of the script below `/console/files`."""
    styles: tuple[str, ...]
    modules: tuple[str, ...]
    """The modules of the script in the order in which they are joined: each uses only those before
    it."""


FRAME = ("text", "elements", "client", "sign_in", "views", "frame")
"""The first modules of all scripts."""
CONSOLE = Pages(
    "Usher console",
    "console.js",
    ("console",),
    (
        *FRAME,
        "log",
        "placement",
        "invocations",
        "sessions",
        "jobs",
        "schedules",
        "apps",
        "audit",
        "hosts",
        "grades",
        "home",
        "main",
    ),
)
ASSIGNMENTS = Pages(
    "Usher assignments",
    "assignments.js",
    ("console", "assignments"),
    (*FRAME, "marks", "gradings", "upload", "statistics", "assignments", "learner"),
)
SCRIPTS = {pages.script: pages for pages in (CONSOLE, ASSIGNMENTS)}


@dataclass(frozen=True)
class File:
    """A text and its entity tag."""

    text: str
    tag: str


def document(request: Any, pages: Pages, root: str) -> Response:
    """The document of pages with the URL prefix `root`."""
    script = own_path(request, f"/console/files/{pages.script}")
    text, policy = render_document(pages, script, own_path(request, root))
    headers = {
        "Content-Security-Policy": policy,
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Vary": "Accept",
    }
    return cacheable(request, tagged(text), "text/html; charset=utf-8", headers)


def cacheable(
    request: Any, found: File, content_type: str, headers: dict[str, str] | None = None
) -> Response:
    """The file, or a 304 if the browser has it. The browser has to revalidate each time."""
    headers = (headers or {}) | {
        "Cache-Control": "private, no-cache",
        "Content-Type": content_type,
        "Cross-Origin-Resource-Policy": "same-origin",
        "ETag": found.tag,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    if is_known(request, found.tag):
        return Response("", status_code=304, headers=headers)
    return Response(found.text, headers=headers)


def wants_page(accept: str) -> bool:
    """Whether an Accept header is that of a browser's navigation and not of an API client."""
    named = {media.split(";")[0].strip().lower() for media in accept.split(",")}
    return "text/html" in named and "application/json" not in named


def render_document(pages: Pages, script: str, root: str) -> tuple[str, str]:
    """The document that loads `script`, and its Content-Security-Policy."""
    from html import escape  # its tables of entities would slow cold starts down

    style = "".join((FOLDER / f"{name}.css").read_text("utf-8") for name in pages.styles)
    mode, _ = authorization()
    sign_in_url, sign_in_client = sign_in_page()
    values = {
        "SIGN_IN": sign_in_url,
        "CLIENT": sign_in_client,
        "TITLE": pages.title,
        "SCRIPT": script,
        "ROOT": root,
        "MODE": "" if mode is None else mode.value,
        "STAGE": stage(),
    }
    text = (FOLDER / "console.html").read_text("utf-8")
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", escape(value))
    return text.replace("/* console.css */", style), content_security_policy(style, sign_in_url)


@cache
def read_script(pages: Pages) -> str:
    """The modules joined into one: imports between them are removed, and exports become plain
    declarations.
    """
    parts = [(FOLDER / f"{name}.js").read_text("utf-8") for name in pages.modules]
    return "\n".join(map(_without_module, parts))


def _without_module(part: str) -> str:
    """A module's script without its imports and exports."""
    part = re.sub(r"^import \{[^}]*\} from \"\./\w+\.js\";\n", "", part, flags=re.MULTILINE)
    return re.sub(r"^export (?=(async )?(function|const|class) )", "", part, flags=re.MULTILINE)


def tagged(text: str) -> File:
    """The text with its entity tag."""
    return File(text, tag_of(text))


def content_security_policy(style: str, sign_in_url: str = "") -> str:
    """Allow only the script and data of this origin, the one inline style, and tokens from
    `sign_in_url`.

    Trusted Types make writing HTML from the script an error.
    """
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            f"style-src 'sha256-{digest}'",
            f"connect-src 'self' {sign_in_url}".rstrip(),
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )
