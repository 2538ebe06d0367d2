"""Registered apps: their task definitions, and what is remembered of them."""

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.apps import App
from chalicelib.config import AppBounds, load_config
from chalicelib.ecs.failures import LaunchError, LaunchFailure
from chalicelib.errors import BadRequestError, UnavailableError
from chalicelib.sessions.catalog import AppCatalog
from chalicelib.sessions.registered import (
    families_prefix,
    parse_registered,
    read_registered,
    registered_task_definition,
)
from chalicelib.tasks.deployed import Revisions
from chalicelib.tasks.revisions import RevisionState, choose_revision
from tests.unit.chalicelib.test_lifecycle import queued

CONFIG = load_config({"STAGE": "dev"})


def definition(description, revision=1, name="counter", image="registry/counter@sha256:0"):
    app = parse_registered(name, image, description, AppBounds())
    request = registered_task_definition(
        app,
        description,
        stage="dev",
        region="r",
        log_group="sessions",
        feed_url="",
        feed_password="",
        task_role_arn=None,
        deployment=None,
    )
    arn = f"arn:aws:ecs:r:1:task-definition/{request['family']}:{revision}"
    return request | {"taskDefinitionArn": arn}


class Ecs:
    """Active families and the newest definition of each; counts the calls."""

    def __init__(self):
        self.definitions = {}
        self.asked = 0
        self.fails = False

    def add(self, made):
        self.definitions[made["family"]] = made
        self.definitions[made["taskDefinitionArn"]] = made

    def get_paginator(self, _):
        return self

    def paginate(self, **_):
        self.asked += 1
        if self.fails:
            raise ClientError({"Error": {"Code": "Throttling"}}, "ListTaskDefinitionFamilies")
        return [{"families": [name for name in self.definitions if ":" not in name]}]

    def newest_definition(self, family):
        if family not in self.definitions:
            raise LaunchError(LaunchFailure.NOT_DEPLOYED, "no such family")
        return self.definitions[family]


@pytest.fixture
def ecs():
    return Ecs()


@pytest.fixture
def clock():
    return [1_000.0]


@pytest.fixture
def catalog(ecs, clock):
    def now():
        return clock[0]

    return AppCatalog(ecs, Revisions(ecs, now), CONFIG, now)


def test_a_description_is_read_back_from_the_task_definition_it_became():
    description = {"memory": 64, "pool": {"minimum": 2}, "environment": {"A": "b"}}
    made = definition(description, 7)
    assert made["family"] == "usher-dev-app-counter"
    assert made["family"].startswith(families_prefix("dev"))
    found = read_registered(made, "dev")
    assert (found.app.name, found.revision, found.description) == ("counter", 7, description)
    assert found.app == parse_registered("counter", found.app.image, description, AppBounds())
    assert found.app.is_registered


def test_a_definition_of_something_else_is_no_registered_app():
    made = definition({})
    del made["containerDefinitions"][0]["dockerLabels"]
    with pytest.raises(BadRequestError, match="is no registered app"):
        read_registered(made, "dev")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(JSON | st.dictionaries(st.sampled_from(["pool", "environment", "user", "cpu"]), JSON))
def test_whatever_is_sent_is_an_app_or_a_bad_request(document):
    try:
        app = parse_registered("counter", "image", document, AppBounds())
    except BadRequestError:
        return
    assert app.cpu <= AppBounds.cpu
    assert app.pool.maximum <= AppBounds.pool


def test_the_apps_file_comes_first_and_needs_no_ecs(ecs, catalog):
    ecs.fails = True
    assert catalog.get(None).name == catalog.get("listings").name == "listings"
    assert ecs.asked == 0
    with pytest.raises(UnavailableError):
        catalog.get("counter")
    assert set(catalog.all()) == {"listings"}


def test_names_are_asked_for_once_in_ten_seconds_however_many_unknown_ones_come(
    ecs, catalog, clock
):
    ecs.add(definition({}))
    assert [catalog.get(f"name-{n}") for n in range(50)] == [None] * 50
    assert catalog.get("counter").family_name == "app-counter"
    assert ecs.asked == 1
    clock[0] += 11
    ecs.fails = True
    assert catalog.get("counter").name == "counter", "what ECS said last is still true"


def test_a_session_has_the_description_of_its_own_revision(ecs, catalog):
    first, second = definition({"memory": 64}, 1), definition({"memory": 96}, 2)
    ecs.add(first)
    ecs.add(second)
    session = replace(queued(), app="counter", task_definition=first["taskDefinitionArn"])
    assert catalog.of(session).memory == 64
    gone = replace(session, task_definition="arn:aws:ecs:r:1:task-definition/usher-dev-other:9")
    assert catalog.of(gone).memory == 96
    assert isinstance(catalog.get("counter"), App)


def test_a_proven_revision_of_another_family_serves_nobody():
    """An app that moved from the apps file to the registered ones begins anew."""
    state = RevisionState(name="counter", proven="arn:task-definition/usher-dev-counter:1")
    newest = "arn:task-definition/usher-dev-app-counter:2"
    assert choose_revision(state, newest, 0.0, by_pool=True) == newest
