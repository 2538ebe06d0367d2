"""Signing in to the console at the hosted page of a user pool, behind a stage's prefix."""

import base64
import hashlib
import json
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Page, Request, Route, expect

from chalicelib.api.pages import CONSOLE, read_script, render_document
from tests.needs import needs_chromium

SITE, LOGIN = "https://usher.test", "https://login.test"
SCRIPT = "/v1/console/files/console.js"
TOKEN = "the.id.token"


class Hosted:
    """The hosted pages, as Cognito has them, and the dispatcher; both answer in the browser."""

    def __init__(self, page: Page) -> None:
        self.authorized: dict[str, str] = {}
        self.exchanged: dict[str, str] = {}
        self.asked: list[str] = []
        self.text, self.policy = render_document(CONSOLE, SCRIPT, "/v1/console")
        page.route(f"{LOGIN}/**", self.sign_in)
        page.route(f"{SITE}/**", self.dispatch)

    def sign_in(self, route: Route, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.path == "/oauth2/authorize":
            self.authorized = _fields(parts.query)
            back = urlencode({"code": "the-code", "state": self.authorized["state"]})
            link = f'<a href="{self.authorized["redirect_uri"]}?{back}">Continue</a>'
            route.fulfill(content_type="text/html", body=link)
            return
        self.exchanged = _fields(request.post_data or "")
        digest = hashlib.sha256(self.exchanged["code_verifier"].encode()).digest()
        fits = _base64url(digest) == self.authorized["code_challenge"]
        body = {"id_token": TOKEN} if fits else {"error": "invalid_grant"}
        allowed = {"Access-Control-Allow-Origin": SITE}
        route.fulfill(status=200 if fits else 400, headers=allowed, json=body)

    def dispatch(self, route: Route, request: Request) -> None:
        self.asked.append(request.url)
        path = urlsplit(request.url).path
        if path == SCRIPT:
            route.fulfill(content_type="text/javascript", body=read_script(CONSOLE))
        elif path.startswith("/v1/console"):
            headers = {"Content-Security-Policy": self.policy, "Content-Type": "text/html"}
            route.fulfill(headers=headers, body=self.text)
        elif request.headers.get("authorization") != TOKEN:
            error = {"error": {"code": "unauthorized", "message": "Unauthorized"}}
            route.fulfill(status=401, json=error)
        else:
            assert path.startswith("/v1/")
            found = {"owner": "jwt:ann", "role": "owner", "stage": "dev", "jobs": []}
            route.fulfill(content_type="application/json", body=json.dumps(found))


@pytest.fixture
def hosted(page, monkeypatch):
    settings = {
        "STAGE": "dev",
        "AUTH_MODE": "jwt",
        "USER_POOL_ARNS": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_x",
        "SIGN_IN_URL": LOGIN,
        "SIGN_IN_CLIENT": "the-client",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return Hosted(page)


@needs_chromium
def test_a_code_and_its_verifier_become_a_token_that_stays_in_the_tab(page, watch, hosted):
    page.goto(f"{SITE}/v1/console/jobs?x=1")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name="Continue").click()
    expect(page.locator(".who")).to_contain_text("jwt:ann")
    assert page.url == f"{SITE}/v1/console/jobs?x=1"
    assert hosted.authorized["response_type"] == "code"
    assert hosted.authorized["code_challenge_method"] == "S256"
    assert hosted.authorized["redirect_uri"] == f"{SITE}/v1/console"
    assert hosted.exchanged["grant_type"] == "authorization_code"
    assert hosted.exchanged["redirect_uri"] == hosted.authorized["redirect_uri"]
    assert not [url for url in hosted.asked if TOKEN in url]
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    assert page.evaluate("Object.keys(sessionStorage)") == ["usher-key"]
    links = page.locator("a[href]").evaluate_all("links => links.map(link => link.href)")
    assert {link.partition("#")[0] for link in links} > {f"{SITE}/v1/console/schedules"}
    assert [link for link in links if not link.startswith(f"{SITE}/v1/console")] == []
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0
    assert watch.complaints == []


@needs_chromium
def test_an_answer_for_another_request_signs_nobody_in(page, hosted):
    page.goto(f"{SITE}/v1/console")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="Continue")).to_be_visible()
    page.goto(f"{SITE}/v1/console?code=stolen&state=another")
    expect(page.get_by_role("alert")).to_contain_text("for another request")
    assert hosted.exchanged == {}
    assert page.evaluate("sessionStorage.length") == 0


def _fields(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
