"""The operators' console at `/console`, the scripts of all pages, and the caller's identity."""

from chalice.app import Blueprint, Response

from chalicelib.api.changes import IF_NONE_MATCH
from chalicelib.api.http import answer, answering, authorizer_for, known_caller_of, takes
from chalicelib.api.pages import (
    CONSOLE,
    SCRIPTS,
    cacheable,
    document,
    read_script,
    tagged,
)
from chalicelib.config import authorization, stage
from chalicelib.errors import NotFoundError
from chalicelib.wiring import services

routes = Blueprint(__name__)

AUTHORIZER = authorizer_for(*authorization())


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
    """The script of the console, or of the pages of assignments."""
    if name not in SCRIPTS:
        raise NotFoundError("the console has no such file")
    script = tagged(read_script(SCRIPTS[name]))
    return cacheable(routes.current_request, script, "text/javascript; charset=utf-8")


@routes.route("/whoami", methods=["GET"], authorizer=AUTHORIZER)
@answering
def whoami() -> Response:
    """The caller's owner name, its role and the stage."""
    caller = known_caller_of(routes.current_request, services().config)
    return answer({"owner": caller.owner, "role": caller.role.value, "stage": stage()})


def _document() -> Response:
    return document(routes.current_request, CONSOLE, "/console")
