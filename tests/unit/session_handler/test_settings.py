"""Values of environment variables, and one error with all problems."""

import pytest

from chalicelib.contract import Env
from session_handler.settings import SettingsError, parse

UUID = "0b4f3d52-3c8e-4e0e-9a2b-1f2e3d4c5b6a"
LEAST = {"SESSION_ID": "id", "SESSION_UUID": UUID}


def problems_of(**environ):
    with pytest.raises(SettingsError) as wrong:
        parse(LEAST | environ)
    return wrong.value.problems


def test_two_variables_are_enough():
    settings = parse(LEAST)
    assert (settings.session_id, settings.uuid, settings.port) == ("id", UUID, 8080)
    assert (settings.feed_url, settings.callback_url, settings.allowed_origins) == (None,) * 3
    assert (settings.app_name, settings.revision) == ("default", "")
    assert (settings.connect_deadline_seconds, settings.reconnect_grace_seconds) == (30.0, 0.0)
    assert settings.max_session_seconds == 14_400.0
    assert (settings.host, settings.compresses) == ("0.0.0.0", False)
    assert (settings.ping_interval_seconds, settings.ping_timeout_seconds) == (20.0, 20.0)


def test_all_variables_are_understood():
    settings = parse(
        LEAST
        | {
            "SESSION_HOST": "127.0.0.1",
            "SESSION_PORT": "0",
            "PING_INTERVAL_SECONDS": "0",
            "PING_TIMEOUT_SECONDS": "7",
            "COMPRESSION": "deflate",
            "SESSION_KEY": "key",
            "CALLBACK_URL": "https://dispatcher/sessions/id/events",
            "FEED_URL": "kinesis://updates",
            "AWS_REGION": "eu-north-1",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:5000",
            "CONNECT_DEADLINE_SECONDS": "1.5",
            "RECONNECT_GRACE_SECONDS": "2",
            "MAX_SESSION_SECONDS": "0",
            "ALLOWED_ORIGINS": "https://A.example, http://localhost:8000",
            "TLS_CERT_FILE": "c.pem",
            "TLS_KEY_FILE": "k.pem",
            "SESSION_APP": "apps.filter:App",
            "SESSION_REVISION": "listings:7",
        }
    )
    assert (settings.host, settings.port) == ("127.0.0.1", 0)
    assert settings.compresses
    assert (settings.ping_interval_seconds, settings.ping_timeout_seconds) == (0.0, 7.0)
    assert settings.allowed_origins == {"https://a.example", "http://localhost:8000"}
    assert settings.app_class == settings.app_name == "apps.filter:App"
    assert settings.revision == "listings:7"
    assert settings.max_session_seconds == 0.0


def test_empty_variables_count_as_absent():
    assert parse(LEAST | {name: "" for name in Env if name not in LEAST}) == parse(LEAST)


def test_an_asterisk_among_the_origins_lets_all_in():
    assert parse(LEAST | {"ALLOWED_ORIGINS": "https://a.example,*"}).allowed_origins is None


def test_everything_wrong_is_listed_at_once():
    with pytest.raises(SettingsError) as wrong:
        parse({"SESSION_PORT": "eighty", "CALLBACK_URL": "dispatcher", "TLS_KEY_FILE": "k.pem"})
    for name in ("SESSION_ID", "SESSION_UUID", "SESSION_PORT", "CALLBACK_URL", "TLS_CERT_FILE"):
        assert any(name in problem for problem in wrong.value.problems), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SESSION_UUID", UUID.upper()),
        ("SESSION_UUID", UUID[:-1]),
        ("SESSION_UUID", "../" + UUID),
        ("SESSION_PORT", "65536"),
        ("SESSION_PORT", "-1"),
        ("SESSION_PORT", "८०८०"),
        ("CONNECT_DEADLINE_SECONDS", "soon"),
        ("CONNECT_DEADLINE_SECONDS", "-1"),
        ("MAX_SESSION_SECONDS", "inf"),
        ("RECONNECT_GRACE_SECONDS", "nan"),
        ("CALLBACK_URL", "ftp://dispatcher"),
        ("CALLBACK_URL", "http://dispatcher:port"),
        ("AWS_ENDPOINT_URL", "localhost:5000"),
        ("SESSION_APP", "module"),
        ("SESSION_APP", "module:Class()"),
        ("ALLOWED_ORIGINS", "page.example"),
        ("SESSION_KEY", "a b"),
        ("SESSION_HOST", "a b"),
        ("COMPRESSION", "gzip"),
        ("PING_TIMEOUT_SECONDS", "never"),
    ],
)
def test_bad_values_are_named(name, value):
    (problem,) = problems_of(**{name: value})
    assert problem.startswith(name)


def test_a_problem_never_shows_a_secret():
    assert "hush hush" not in str(problems_of(SESSION_KEY="hush hush"))
