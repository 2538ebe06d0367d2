"""Texts that cannot be stored, shown or given to a program: in tokens, apps and jobs."""

import pytest

from chalicelib.apps import parse_app
from chalicelib.callers import MOST_NAME_BYTES, AuthMode, identify
from chalicelib.errors import BadRequestError, ConfigurationError, UnauthorizedError
from chalicelib.jobs.description import parse_description

UNFIT = ["a\x00b", "a\ud800b", "\udfff", "a\nb", "a\x1b[31m", "a\x85b", "a\u202eb"]
NEVER = ["a\x00b", "a\ud800b", "\udfff"]


def owner_of(claims):
    context = {"authorizer": {"claims": claims}}
    return identify(AuthMode.JWT, {}, context, api_keys=[], operators=frozenset()).owner


@pytest.mark.parametrize("sub", [*UNFIT, 7, ["a"], {}, "é" * (MOST_NAME_BYTES // 2 + 1)])
def test_a_token_whose_name_cannot_be_kept_as_it_is_is_nobodys(sub):
    with pytest.raises(UnauthorizedError):
        owner_of({"sub": sub})


@pytest.mark.parametrize("sub", ["a b", "Zoë", "auth0|7", "💡", "x" * MOST_NAME_BYTES])
def test_other_names_are_owners_unchanged(sub):
    assert owner_of({"sub": sub}) == f"jwt:{sub}"


@pytest.mark.parametrize("unfit", UNFIT)
@pytest.mark.parametrize("key", ["image", "user"])
def test_an_app_has_no_such_names(key, unfit):
    with pytest.raises(ConfigurationError, match=f"apps.chat.{key}: must be"):
        parse_app("chat", {"image": "i", key: unfit})


@pytest.mark.parametrize("unfit", NEVER)
@pytest.mark.parametrize(
    "table",
    [
        lambda text: {"command": ["x", text]},
        lambda text: {"entry_point": [text]},
        lambda text: {"health_check": ["CMD", text]},
        lambda text: {"environment": {"A": text}},
        lambda text: {"environment": {text: "a"}},
        lambda text: {"feed_url": f"kinesis://{text}"},
    ],
)
def test_an_app_hands_no_such_text_to_a_program(table, unfit):
    with pytest.raises(ConfigurationError, match="must be"):
        parse_app("chat", {"image": "i", **table(unfit)})


@pytest.mark.parametrize("name", ["", "A=B", "A B", "A\tB"])
def test_no_variable_is_called_what_no_variable_can_be_called(name):
    with pytest.raises(ConfigurationError, match="environment: must be"):
        parse_app("chat", {"image": "i", "environment": {name: "x"}})
    with pytest.raises(BadRequestError, match="environment: an object"):
        parse_description({"name": "job", "environment": {name: "x"}})


@pytest.mark.parametrize("unfit", NEVER)
def test_a_job_hands_no_such_text_to_a_program(unfit):
    with pytest.raises(BadRequestError, match="environment: an object"):
        parse_description({"name": "job", "environment": {"A": unfit}})


def test_lines_and_colours_may_be_handed_to_a_program():
    text = "a\nb\t\x1b[31m"
    app = parse_app("chat", {"image": "i", "environment": {"A": text}, "command": [text]})
    assert (app.environment["A"], app.command) == (text, (text,))
