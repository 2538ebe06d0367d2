import base64
import gzip
import hashlib
import re

import pytest
from chalice.app import Chalice
from chalice.test import Client

from chalicelib.api.console import (
    FOLDER,
    MODULES,
    content_security_policy,
    read_script,
    render_document,
    routes,
)

LARGEST_SCRIPT = 30_000
"""Bytes of the script as API Gateway sends it."""


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


def test_the_policy_lets_this_origins_script_and_the_one_style_in_and_no_html():
    html, policy = render_document("/console/files/console.js")
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
    html, _ = render_document('/"><script>alert(1)</script>/console/files/console.js')
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


def test_the_script_is_one_module_with_all_parts_and_small():
    script = read_script()
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)
    assert {path.stem for path in FOLDER.glob("*.js")} == set(MODULES)
    assert len(gzip.compress(script.encode())) < LARGEST_SCRIPT


def test_a_part_imports_only_what_comes_before_it():
    declared = re.compile(r"^(?:export )?(?:async )?(?:function|const|class|let) (\w+)", re.M)
    names: list[str] = []
    for number, module in enumerate(MODULES):
        text = (FOLDER / f"{module}.js").read_text("utf-8")
        assert set(re.findall(r'from "\./(\w+)\.js"', text)) <= set(MODULES[:number])
        names += declared.findall(text)
    assert len(names) == len(set(names)), "joined they are one module: a name has one meaning"


def test_the_script_writes_no_html_and_keeps_the_key_in_the_tab():
    script = read_script()
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
