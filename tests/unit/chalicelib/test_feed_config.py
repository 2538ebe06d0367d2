"""FEED_URL decides whether there is a relay, and whether sessions get a role."""

import os
import subprocess
import sys

import pytest

from chalicelib.apps import App
from chalicelib.config import feed_url, load_config
from chalicelib.ecs.task_definitions import task_definition_for
from chalicelib.errors import ConfigurationError

FUNCTIONS = """
import sys, app
print([config.name for config in app.app.event_sources], "redis" in sys.modules)
"""


def functions_with(url):
    """The functions of app.py, and whether importing it imports redis-py."""
    environment = os.environ | {"FEED_URL": url, "STAGE": "test"}
    ran = subprocess.run(
        [sys.executable, "-c", FUNCTIONS],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout


def test_there_is_a_relay_only_for_a_fan_out_feed():
    assert "relay_records" in functions_with("redis://h:1/s")
    assert "relay_records" not in functions_with("kinesis://s")
    assert functions_with("rediss://h:1/s").endswith("False\n")


def test_without_a_feed_url_the_stage_names_the_stream():
    assert feed_url({"STAGE": "dev"}) == "kinesis://usher-dev-updates"
    assert feed_url({"FEED_URL": "redis://h/s"}) == "redis://h/s"


@pytest.mark.parametrize("name", ["FEED_MAX_RECORDS", "FEED_BACKFILL_SECONDS"])
@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5"])
def test_numbers_are_checked(name, value):
    with pytest.raises(ConfigurationError, match=name):
        load_config({name: value})


@pytest.mark.parametrize(
    ("own", "deployments", "has_role"),
    [
        (None, "kinesis://s", True),
        (None, "redis://h:1/s", False),
        ("redis://h:1/s", "kinesis://s", False),
        ("kinesis://s", "rediss://h:1/s", True),
        (None, "", True),
        ("none", "kinesis://s", False),
        ("none", "redis://h:1/s", False),
    ],
)
def test_sessions_of_a_fan_out_feed_have_no_rights_on_aws(own, deployments, has_role):
    app = App(name="chat", image="chat", feed_url=own)
    request = task_definition_for(app, stage="t", task_role_arn="arn:role", feed_url=deployments)
    assert ("taskRoleArn" in request) is has_role
