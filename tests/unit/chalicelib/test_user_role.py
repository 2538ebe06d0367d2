"""Requests to STS for a session's user, and owners' names as values of tags."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.apps import App, parse_app
from chalicelib.errors import ConfigurationError
from chalicelib.sessions.model import Session, State
from chalicelib.sessions.user_role import assume_role_for
from chalicelib.tags import MOST_CHARACTERS, tag_value

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)
POLICY = '{"Version": "2012-10-17", "Statement": []}'
APP = App(name="files", image="i", user_role="files")
SESSION = Session(
    id="6d6cf8ce-9f4b-4c57-9d7c-4cf1ab7dbd2b",
    uuid="u",
    key="secret",
    app="files",
    owner="jwt:Zoë|7",
    callback_url="https://api/sessions/6/events",
    created_at=0.0,
    not_after=1.0,
    state=State.ACTIVE,
    task_arn="arn:aws-cn:ecs:cn-north-1:123456789012:task/usher-prod/1",
)


@given(TEXTS)
def test_a_tags_value_is_what_aws_takes_and_no_policy_reads_more_into(text):
    value = tag_value(text)
    assert len(value) <= MOST_CHARACTERS
    assert re.fullmatch(r"[A-Za-z0-9_.:/+@=-]?|[A-Za-z0-9_.:/+@=-][A-Za-z0-9_.:/+@= -]*", value)
    assert not value.lower().startswith("aws:")


@given(TEXTS, TEXTS)
def test_two_texts_have_two_values(one, other):
    assert (tag_value(one) == tag_value(other)) == (one == other)


def test_values_of_examples():
    assert tag_value("jwt:ann@example.org") == "jwt:ann@example.org"
    assert tag_value("jwt:auth0|7") == "jwt:auth0=7C7"
    assert tag_value("jwt:Zoë*") == "jwt:Zo=C3=AB=2A"
    assert tag_value("a=7C") == "a=3D7C"
    assert tag_value(" a ") == "=20a=20"
    assert tag_value("AWS:x") == "=41WS:x"
    assert tag_value("x" * 300)[:192] == "x" * 190 + "=="


def test_sts_is_asked_for_the_least_time_in_the_partition_of_the_task():
    request = assume_role_for(SESSION, APP, "prod")
    assert request == {
        "RoleArn": "arn:aws-cn:iam::123456789012:role/usher-prod-user-files",
        "RoleSessionName": f"usher-{SESSION.id}",
        "DurationSeconds": 900,
        "Tags": [
            {"Key": "usher-owner", "Value": "jwt:Zo=C3=AB=7C7"},
            {"Key": "usher-app", "Value": "files"},
            {"Key": "usher-session", "Value": SESSION.id},
        ],
    }
    assert len(request["RoleSessionName"]) <= 64
    assert "secret" not in str(request)


def test_the_apps_policy_is_handed_on():
    request = assume_role_for(SESSION, replace(APP, user_policy=POLICY), "prod")
    assert request["Policy"] == '{"Version":"2012-10-17","Statement":[]}'


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"user_role": "Admin"}, "user_role: must be"),
        ({"user_role": "a/b"}, "user_role: must be"),
        ({"user_role": "*"}, "user_role: must be"),
        ({"user_role": "x" * 33}, "user_role: must be"),
        ({"user_policy": POLICY}, "there is none"),
        ({"user_role": "a", "user_policy": "{"}, "user_policy: must be"),
        ({"user_role": "a", "user_policy": "[" * 100_000}, "user_policy: must be"),
        ({"user_role": "a", "user_policy": '{"Statement": []}'}, "user_policy: must be"),
        ({"user_role": "a", "user_policy": POLICY.replace("[]", '["' + "x" * 2100 + '"]')}, "2048"),
        ({"user_role": "a", "user_policy": 7}, "user_policy: must be"),
    ],
)
def test_what_an_app_cannot_ask_for(table, words):
    with pytest.raises(ConfigurationError, match=words):
        parse_app("files", {"image": "i", **table})
