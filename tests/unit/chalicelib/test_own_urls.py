"""The URL of this API as its caller reached it, by API Gateway's request context."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.api.http import base_path, own_path, own_url

HOST = "abc.execute-api.eu-west-1.amazonaws.com"


def request(path, route="/session", domain="api.example.org", stage="api"):
    context = {"path": path, "resourcePath": route, "domainName": domain, "stage": stage}
    return SimpleNamespace(context=context, headers={"host": domain})


@pytest.mark.parametrize(
    ("asked", "url", "location"),
    [
        (request("/api/session", domain=HOST), f"https://{HOST}/api", "/api/sessions/1"),
        (request("/session"), "https://api.example.org", "/sessions/1"),
        (request("/v1/session"), "https://api.example.org/v1", "/v1/sessions/1"),
        (request("/api/session"), "https://api.example.org/api", "/api/sessions/1"),
        (request("/v1/session/"), "https://api.example.org/v1", "/v1/sessions/1"),
        (request("/a/b/session"), "https://api.example.org/a/b", "/a/b/sessions/1"),
        (request("/v1/", route="/"), "https://api.example.org/v1", "/v1/sessions/1"),
        (request("/", route="/"), "https://api.example.org", "/sessions/1"),
        (
            request("/v1/jobs/session/invocations", route="/jobs/{job}/invocations"),
            "https://api.example.org/v1",
            "/v1/sessions/1",
        ),
    ],
)
def test_callbacks_and_links_reach_this_api(asked, url, location):
    assert own_url(asked) == url
    assert own_path(asked, "/sessions/1") == location


def test_a_laptop_has_no_prefix():
    context = {"httpMethod": "GET", "resourcePath": "/session", "path": "/session"}
    asked = SimpleNamespace(context=context, headers={"host": "127.0.0.1:8000"})
    assert own_url(asked) == "http://127.0.0.1:8000"
    assert own_path(asked, "/sessions/1") == "/sessions/1"


segments = st.text(st.characters(exclude_characters="/"), min_size=1, max_size=8)


@given(st.lists(segments, max_size=3), st.lists(segments, min_size=1, max_size=4))
def test_whatever_the_base_path_and_the_parameters_the_base_is_found(before, own):
    path = "/" + "/".join([*before, *own])
    route = "/" + "/".join(f"{{p{n}}}" for n, _ in enumerate(own))
    found = base_path({"path": path, "resourcePath": route})
    assert found == "".join(f"/{segment}" for segment in before)
