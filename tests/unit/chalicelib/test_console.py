import base64
import gzip
import hashlib
import re

import pytest
from chalice.app import Chalice
from chalice.test import Client

from chalicelib.api.console import routes
from chalicelib.api.pages import (
    ASSIGNMENTS,
    CONSOLE,
    FOLDER,
    content_security_policy,
    read_script,
    render_document,
    wants_page,
)
from chalicelib.audit.model import Action
from chalicelib.jobs import model as invocations
from chalicelib.sessions import model as sessions

BOTH = pytest.mark.parametrize("pages", [CONSOLE, ASSIGNMENTS], ids=lambda pages: pages.script)
LARGEST_SCRIPT = 30_000
"""Bytes of the script as API Gateway sends it."""

CHOICES = {
    "audit.js": ("ACTIONS", Action),
    "invocations.js": ("STATES", invocations.State),
    "sessions.js": ("LIVE", sessions.State),
}
"""The lists of filters, and what they must have all of."""


@pytest.fixture
def browser():
    app = Chalice(app_name="console")
    app.register_blueprint(routes)
    with Client(app) as client:
        yield client.http


@pytest.mark.parametrize("path", ["/console", "/console/invocations", "/console/jobs/tally"])
def test_every_path_is_the_same_document_with_the_headers_of_a_page_in_no_frame(browser, path):
    page = browser.get(path)
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in page.headers
    assert page.body == browser.get("/console").body


@BOTH
def test_the_policy_lets_this_origins_script_and_the_one_style_in_and_no_html(pages):
    html, policy = render_document(pages, f"/console/files/{pages.script}", "/console")
    [style] = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = dict(rule.split(" ", 1) for rule in content_security_policy(style).split("; "))
    assert policy == content_security_policy(style)
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == "'self'"
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert rules["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in policy
    assert not re.search(r"\s(style|on\w+)=", html)
    assert re.findall(r"<script[^>]*>(.*?)</script>", html) == [""]


def test_the_document_escapes_what_comes_from_the_path():
    hostile = '/"><script>alert(1)</script>'
    html, _ = render_document(CONSOLE, f"{hostile}/console/files/console.js", f"{hostile}/console")
    assert "<script>alert" not in html
    assert "{" not in re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)


@pytest.mark.parametrize("path", ["/console", "/console/files/console.js"])
def test_what_the_browser_has_already_is_not_sent_again(browser, path):
    first = browser.get(path)
    assert first.headers["Cache-Control"] == "private, no-cache"
    tag = first.headers["ETag"]
    again = browser.get(path, headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.body) == (304, b"")
    assert again.headers["ETag"] == tag
    assert browser.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_there_is_no_other_file(browser):
    assert browser.get("/console/files/console.js").headers["Content-Type"].startswith("text/java")
    for name in ("main.js", "console.css", "console.html", "..%2Fconsole.py"):
        missing = browser.get(f"/console/files/{name}")
        assert (missing.status_code, missing.json_body["error"]["code"]) == (404, "not_found")


@BOTH
def test_the_script_is_one_module_with_all_parts_and_small(pages):
    script = read_script(pages)
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)
    assert {path.stem for path in FOLDER.glob("*.js")} == {*CONSOLE.modules, *ASSIGNMENTS.modules}
    assert len(gzip.compress(script.encode())) < LARGEST_SCRIPT


@BOTH
def test_a_part_imports_only_what_comes_before_it(pages):
    declared = re.compile(r"^(?:export )?(?:async )?(?:function|const|class|let) (\w+)", re.M)
    names: list[str] = []
    for number, module in enumerate(pages.modules):
        text = (FOLDER / f"{module}.js").read_text("utf-8")
        assert set(re.findall(r'from "\./(\w+)\.js"', text)) <= set(pages.modules[:number])
        names += declared.findall(text)
    assert len(names) == len(set(names)), "joined they are one module: a name has one meaning"


@BOTH
def test_the_script_writes_no_html_and_keeps_the_key_in_the_tab(pages):
    script = read_script(pages)
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
        "localStorage",
        "document.cookie",
    ):
        assert forbidden not in script
    assert script.count("searchParams.set(") == 1


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("TEXT/HTML;q=0.9", True),
        ("*/*", False),
        ("", False),
        ("application/json", False),
        ("application/json, text/html;q=0.1", False),
        ("text/html-sandboxed", False),
    ],
)
def test_a_navigation_of_a_browser_is_told_from_a_request_for_data(accept, is_page):
    assert wants_page(accept) is is_page


@pytest.mark.parametrize("module", CHOICES)
def test_a_filter_offers_every_value_that_records_have(module):
    name, values = CHOICES[module]
    text = (FOLDER / module).read_text(encoding="utf-8")
    (listed,) = re.findall(rf"^const {name} = \[(.*?)\];", text, re.DOTALL | re.MULTILINE)
    # A session that has ended is in no listing.
    assert set(re.findall(r'"([^"]+)"', listed)) == set(values) - {sessions.State.ENDED}
