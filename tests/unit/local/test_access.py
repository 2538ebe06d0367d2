"""Requests that a port of the local cloud accepts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.access import AccessRule, host_of, hosts_at, origin_of, origins_of

FRIEND = "http://localhost:3000"
PAGES = AccessRule(
    hosts_at(8000, ["dev.example", "10.0.0.1:9000"]), pages=True, origins=frozenset({FRIEND})
)
CLOSED = AccessRule(hosts_at(8000))


def is_served(rule, host, *headers, method="GET", target="/"):
    return rule.refusal(method, target, [("Host", host), *headers]) is None


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8000", "LocalHost:8000", "[::1]:8000", "host.docker.internal:8000", "dev.example",
     "dev.example:8000", "10.0.0.1:9000", "bucket.localhost:8000"],
)  # fmt: skip
def test_known_hosts(host):
    assert is_served(PAGES, host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:80", "evil:8000", "10.0.0.1:8000", "localhost:8000,evil", "",
             "evil.localhost:1", "localhost:08000x", "dev.example.evil:8000"],
)  # fmt: skip
def test_unknown_hosts(host):
    assert not is_served(PAGES, host)


def test_origins():
    assert is_served(PAGES, "localhost:8000", ("Origin", "http://localhost:8000"))
    assert is_served(PAGES, "dev.example", ("Origin", "https://dev.example"))
    friend = [("origin", FRIEND), ("Sec-Fetch-Site", "same-site")]
    assert is_served(PAGES, "localhost:8000", *friend, target="/session")
    assert not is_served(PAGES, "localhost:8000", *friend, target="/jobs")
    assert not is_served(PAGES, "localhost:8000", ("Origin", "http://localhost:8000"),
                         ("Origin", "http://evil"))  # fmt: skip
    assert not is_served(CLOSED, "localhost:8000", ("Origin", "http://localhost:8000"))
    assert not is_served(CLOSED, "localhost:8000", ("Sec-Fetch-Site", "none"))


def test_fetch_of_node_is_no_page():
    """Node sends Sec-Fetch-Mode alone; browsers send it beside the others only."""
    assert is_served(PAGES, "localhost:8000", ("Sec-Fetch-Mode", "cors"), target="/session")
    for beside in (("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Dest", "empty")):
        assert not is_served(PAGES, "localhost:8000", ("Sec-Fetch-Mode", "cors"), beside)


@pytest.mark.parametrize("target", ["/session", "/session?app=a&wait=5", "/sessions/5e1f"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_pages_of_allowed_origins_use_sessions(method, target):
    friend = ("Origin", FRIEND)
    assert is_served(PAGES, "localhost:8000", friend, method=method, target=target)


@pytest.mark.parametrize(
    "target",
    ["/", "/jobs", "/jobs/x/invocations", "/invocations/x/kill", "/schedules/x", "/sessions",
     "/sessions/", "/sessions/x/events", "/sessions/../jobs", "/session/../jobs", "//session",
     "/jobs?/session", "/jobs#/sessions/x", "/Session", "/health", "/metrics", "/audit", "/demo/a"],
)  # fmt: skip
def test_pages_of_allowed_origins_use_nothing_else(target):
    friend = ("Origin", FRIEND)
    assert not is_served(PAGES, "localhost:8000", friend, method="POST", target=target)


def test_a_target_that_is_no_path_is_refused():
    assert not is_served(PAGES, "localhost:8000", target="http://evil/")
    assert is_served(PAGES, "localhost:8000", method="OPTIONS", target="*")


def test_origins_are_written_as_browsers_write_them():
    assert origin_of("HTTP://Example:80/") == "http://example"
    assert origin_of("https://example:8443") == "https://example:8443"
    assert origins_of(["a:80", "b:81"]) == {"http://a", "https://a", "http://b:81", "https://b:81"}


@pytest.mark.parametrize(
    "text", ["example", "ftp://x", "http://", "http://x/path", "http://u@x", "*"]
)
def test_what_is_no_origin(text):
    with pytest.raises(ValueError, match="origin"):
        origin_of(text)


@given(st.text(max_size=30))
def test_any_host_is_read_or_refused(text):
    assert host_of(text) is None or ":" in host_of(text)


@given(
    st.text(max_size=30).filter(
        lambda t: t.lower() not in {FRIEND, "http://localhost:8000", "https://localhost:8000"}
    )
)
def test_no_other_origin_is_served(text):
    assert not is_served(PAGES, "localhost:8000", ("Origin", text))
