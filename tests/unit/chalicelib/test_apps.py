"""The apps file is checked completely, and the error lists all problems."""

import pytest

from chalicelib.apps import parse_apps
from chalicelib.config import VARIABLES, load_apps, load_config, sign_in_page
from chalicelib.errors import ConfigurationError


def app(**keys):
    return {"apps": {"chat": {"image": "chat", **keys}}}


def test_the_shipped_file_is_valid():
    apps = load_apps()
    assert apps.get(None) is apps.by_name[apps.default]


def test_an_app_has_defaults_for_all_but_its_image():
    chat = parse_apps(app()).get("chat")
    assert chat is not None
    assert (chat.image, chat.port, chat.connect_deadline_seconds) == ("chat", 8080, 30)


def test_an_unknown_name_is_no_app():
    assert parse_apps(app()).get("other") is None


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, r"no \[apps.NAME\]"),
        ({"apps": {"chat": {}}}, "apps.chat.image: missing"),
        ({"apps": {"Chat!": {"image": "x"}}}, "apps.Chat!: a name is"),
        ({"apps": {"chat": 3}}, "apps.chat: not a table"),
        ({"default": "nope", **app()}, "default: no app is called 'nope'"),
        (app(memory=3), "memory: must be a whole number from 6"),
        (app(memory="128"), "memory: must be a whole number"),
        (app(cpu=True), "cpu: must be a whole number"),
        (app(memroy=64), "memroy: unknown key"),
        (app(command="run"), "command: must be a list of strings"),
        (app(session_app="no-colon"), "session_app: must be module:Class"),
        (app(environment={"A": 1}), "environment: must be a table of strings"),
        (app(network_mode="awsvpc"), "awsvpc on EC2 has no public IP"),
        (app(launch_type="FARGATE"), "Fargate knows awsvpc only"),
        (app(launch_type="SPOT"), "launch_type: must be EC2 or FARGATE"),
        (app(needs_aws="yes"), "needs_aws: must be true or false"),
    ],
)
def test_mistakes_are_named(document, words):
    with pytest.raises(ConfigurationError, match=words):
        parse_apps(document)


def test_all_mistakes_are_named_at_once():
    with pytest.raises(ConfigurationError) as caught:
        parse_apps(app(memory=1, cpu=-1, nonsense=2))
    assert all(word in str(caught.value) for word in ("memory", "cpu", "nonsense"))


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"gone\.toml"):
        load_apps(tmp_path / "gone.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[apps", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"broken\.toml"):
        load_apps(broken)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DEFAULT_WAIT_SECONDS", "26"),
        ("DEFAULT_WAIT_SECONDS", "soon"),
        ("SESSION_URL_TEMPLATE", "wss://{host}"),
        ("SESSION_URL_TEMPLATE", "wss://{"),
    ],
)
def test_bad_settings_are_refused(variable, value):
    with pytest.raises(ConfigurationError, match=variable):
        load_config({variable: value})


def test_every_documented_variable_is_read():
    read = set()

    class Spy(dict):
        def get(self, key, default=None):
            read.add(key)
            return default

    load_config(Spy())
    sign_in_page(Spy())  # read by the console alone
    assert read == set(VARIABLES)
