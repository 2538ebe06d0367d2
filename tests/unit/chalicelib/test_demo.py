import base64
import hashlib
import re

from chalice.app import Chalice
from chalice.test import Client

from chalicelib.api.demo import content_security_policy, read_parts, render_page, routes


def client() -> Client:
    app = Chalice(app_name="page")
    app.register_blueprint(routes)
    return Client(app)


def test_the_page_is_html_that_no_cache_keeps():
    with client() as browser:
        page = browser.http.get("/")
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.body.startswith(b"<!doctype html>")


def test_the_policy_names_exactly_the_inline_code_of_the_page():
    html, policy = render_page()
    [script] = re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL)
    [style] = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    for inline in (script, style):
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert " style=" not in html
    assert " onclick=" not in html


def test_the_policy_is_tight_but_for_the_containers():
    policy = content_security_policy(script="a", style="b")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self' http: https: ws: wss:"
    assert "unsafe" not in policy
    assert "*" not in policy


def test_parts_of_the_page_are_scripts_and_nothing_else():
    with client() as browser:
        for name in read_parts():
            part = browser.http.get(f"/demo/{name}")
            assert part.status_code == 200
            assert part.headers["Content-Type"] == "text/javascript; charset=utf-8"
        for name in ("page.html", "page.css", "routes.py", "..%2Froutes.py", "nope.js"):
            missing = browser.http.get(f"/demo/{name}")
            assert missing.status_code == 404
            assert missing.json_body["error"]["code"] == "not_found"


def test_every_import_of_a_part_leads_to_a_part():
    parts = read_parts()
    for text in parts.values():
        for name in re.findall(r'from "\./([^"]+)"', text):
            assert name in parts


def test_the_page_asks_nobody_else_for_anything():
    html, _ = render_page()
    for text in (html, *read_parts().values()):
        addresses = set(re.findall(r"https?://[^\s\"')]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg", "https://host/api"}
