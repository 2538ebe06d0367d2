"""The API's document: valid, whole, and made of what the checks use."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from chalice.test import Client
from openapi_spec_validator import OpenAPIV31SpecValidator

from app import app
from chalicelib.api.http import taken_by
from chalicelib.api.reference.document import (
    PATH,
    all_errors,
    entries,
    openapi,
    surplus,
    undescribed,
)
from chalicelib.callers import AuthMode
from tests.api_document import check_answer, document

ROOT = Path(__file__).parents[3]
CONTRACTS = ROOT / "docs" / "contracts.md"
API = ROOT / "chalicelib" / "api"
READERS = [
    *(ROOT / "chalicelib").glob("*/requests.py"),
    *(ROOT / "chalicelib").glob("*/listings.py"),
    ROOT / "chalicelib" / "grading" / "fields.py",
    *(set(API.glob("*.py")) - {API / "http.py", API / "audit.py"}),
]
"""The modules that read what requests carry."""
READ_FROM = {"fields", "query", "headers", "document", "body", "values", "wanted"}
"""Names that these modules use for parts of a request."""
WITHOUT_DECLARATION = {"authorization", "host", "origin", "content-type"}
"""Headers with the caller, the origin and the format of a request."""
ROUTES = list(entries(app.routes))


@pytest.mark.parametrize("mode", [None, *AuthMode])
def test_the_document_is_valid_in_every_mode(mode):
    described = openapi(app.routes, mode, "https://api.example.org/v1")
    assert list(OpenAPIV31SpecValidator(described).iter_errors()) == []
    assert described["servers"] == [{"url": "https://api.example.org/v1"}]
    has_key = "caller" in described["components"]["securitySchemes"]
    assert has_key is (mode in (AuthMode.API_KEY, AuthMode.IAM, AuthMode.JWT))
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            wants = [name for each in operation["security"] for name in each]
            assert set(wants) <= set(described["components"]["securitySchemes"]), (path, method)


def test_every_route_is_described_and_nothing_else():
    missing, too_many = undescribed(app.routes), surplus(app.routes)
    assert not missing, (
        f"views without a description: {', '.join(sorted(missing))}. Add an Operation under the "
        "view's name to the part it belongs to in chalicelib/api/reference (a new module's part "
        'goes into PARTS of document.py), see "A route" in CONTRIBUTING.md'
    )
    assert not too_many, f"described, and no views of the app: {', '.join(sorted(too_many))}"
    described = openapi(app.routes, None, "http://d")
    assert {(p, m.upper()) for p, ms in described["paths"].items() for m in ms} == {
        (path, method) for path, method, _ in ROUTES
    }
    names = [o["operationId"] for ms in described["paths"].values() for o in ms.values()]
    assert len(names) == len(set(names))


def test_every_part_of_a_path_has_a_schema():
    named = {name for _, _, route in ROUTES for name in route.view_args}
    assert named == set(PATH), "name each part of a path in PATH of document.py"


def names_read(path):
    """Returns the names that a module reads from a query, headers or a body."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Call(
                func=ast.Attribute(value=owner, attr="get"), args=[ast.Constant(str(name)), *_]
            ):
                pass
            case ast.Subscript(value=owner, slice=ast.Constant(str(name))):
                owner = owner.func if isinstance(owner, ast.Call) else owner
            case ast.Call(
                func=ast.Name("parse_instant" | "_instant"),
                args=[owner, ast.Constant(str(name)), *_],
            ):
                pass
            case _:
                continue
        if isinstance(owner, ast.Attribute) and owner.attr == "check":
            found.add(name)
        called = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
        if called in READ_FROM:
            found.add(name)
    return found


def test_every_name_that_code_reads_is_declared_and_every_declared_name_is_read():
    read = {name for path in READERS for name in names_read(path)}
    taken = [taken_by(route.view_function) for _, _, route in ROUTES]
    fields = [f for t in taken for f in (*t.query, *t.headers, *(t.body.fields if t.body else ()))]
    declared = {field.name for field in fields}
    assert len(read) > 20
    unknown = read - declared - WITHOUT_DECLARATION
    assert not unknown, f"{unknown}: declare a Field for each, and give it to `takes` at the view"
    source = "\n".join(path.read_text("utf-8") for path in READERS)
    by_field = {field.name for field in fields if is_read_as_a_field(field, source)}
    unread = declared - read - by_field
    assert not unread, f"{unread}: declared, and read by nobody"


def is_read_as_a_field(field, source):
    """Whether a Field that has a name of its own in the code is read by it."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Assign(
                targets=[ast.Name(name)],
                value=ast.Call(func=ast.Name("Field"), args=[ast.Constant(told), *_]),
            ) if told == field.name:
                if any(f"{name}{end}" in source for end in (".read(", ".check(", ".of(", ".name")):
                    return True
    loops = ("for field in FILTERS", "for field in (SESSION_ID, SESSION_PATH)")
    if field.name in {"who", "action", "resource", "X-Session-Id", "X-Session-Path"}:
        return any(loop in source for loop in loops)
    return field.name == "limit" and "LIMIT.read(" in source


def test_examples_fit_their_schemas():
    components = openapi(app.routes, None, "http://d")["components"]
    told = 0
    for name, schema in components["schemas"].items():
        checked = jsonschema.Draft202012Validator({**schema, "components": components})
        for example in schema.get("examples", ()):
            assert list(checked.iter_errors(example)) == [], name
            told += 1
    assert told > 15


def test_examples_of_bodies_are_taken():
    for path, method, route in ROUTES:
        body = taken_by(route.view_function).body
        if body is None:
            continue
        content = document()["paths"][path][method.lower()]["requestBody"]["content"]
        assert body.check(content["application/json"]["example"])


def test_every_error_is_in_the_table_of_the_contracts_and_no_other():
    text = CONTRACTS.read_text("utf-8").split("**Errors** are", 1)[1]
    rows = [line.split("|") for line in text.split("\n\n")[1].splitlines() if line[:1] == "|"]
    told = {(int(row[1]), row[2].strip(" `")) for row in rows[2:]}
    assert told == set(all_errors())


def test_the_document_is_for_anybody_and_says_where_it_came_from():
    with Client(app) as client:
        answer = client.http.get("/openapi.json", headers={"Host": "localhost:8000"})
    assert answer.status_code == 200
    assert answer.json_body["openapi"] == "3.1.0"
    assert answer.json_body["servers"] == [{"url": "http://localhost:8000"}]
    assert answer.headers["Cache-Control"] == "no-store"


def test_no_cold_start_pays_for_the_document():
    script = "import app, sys; print(*[m for m in sys.modules if 'reference' in m])"
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "chalicelib.api.reference" not in found.stdout


HEALTH = {"status": "ok", "stage": "local", "apps": [], "sweep": None}
JSON = {"Content-Type": "application/json", "Cache-Control": "no-store"}


def checked(body, *, status=200, headers=JSON, method="GET", path="/health"):
    check_answer(method, f"http://d{path}", status, headers, json.dumps(body).encode())


def test_an_answer_of_the_document_passes():
    checked(HEALTH)
    checked({"error": {"code": "internal", "message": "?"}}, status=500)
    checked({"message": "Missing Authentication Token"}, status=403, path="/nowhere")
    checked({}, status=405, method="PATCH")


@pytest.mark.parametrize(
    "wrong",
    [
        {"body": HEALTH | {"more": 1}},
        {"body": {"status": "ok"}},
        {"body": HEALTH, "status": 206},
        {"body": HEALTH, "headers": JSON | {"Content-Type": "text/html"}},
        {"body": HEALTH, "headers": {"Content-Type": "application/json"}},
        {"body": {"error": {"code": "conflict", "message": "?"}}, "status": 404},
        {"body": {}, "path": "/nowhere"},
        {"body": {"id": "x"}, "status": 202, "path": "/session"},
    ],
)
def test_an_answer_that_the_document_does_not_have_fails(wrong):
    with pytest.raises(AssertionError, match="CONTRIBUTING"):
        checked(wrong.pop("body"), **wrong)
