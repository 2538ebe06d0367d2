"""Placement tables of apps and jobs: errors on load, and requests to ECS."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.apps import parse_app
from chalicelib.errors import BadRequestError, ConfigurationError
from chalicelib.jobs.description import parse_description
from chalicelib.task_placement import (
    FARGATE_REFUSAL,
    Placement,
    from_json,
    parse_placement,
    problems_of_placement,
)


def app(**placement):
    return parse_app("web", {"image": "x", "placement": placement})


def test_short_names_are_put_into_ecs_words() -> None:
    placement = app(spread=["zone", "host", "attribute:rack"], binpack="memory").placement
    assert placement.fields() == (
        "attribute:ecs.availability-zone",
        "instanceId",
        "attribute:rack",
    )


def test_affinity_becomes_constraints_on_task_groups() -> None:
    placement = Placement(
        constraints=("attribute:gpu exists",),
        affinity=("app:cache",),
        anti_affinity=("job:resize_images", "family:other"),
    )
    assert placement.expressions("prod") == (
        "attribute:gpu exists",
        "task:group in [family:usher-prod-cache, family:usher-prod-app-cache]",
        "not(task:group in [family:usher-prod-job-resize-images])",
        "not(task:group in [family:other])",
    )
    assert problems_of_placement({"constraints": list(placement.expressions("prod"))}) == []


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"spread": ["rack"]}, "spread: 'rack' is not zone, host or attribute:NAME"),
        ({"spread": "zone"}, "spread: must be a list of strings"),
        ({"binpack": "disk"}, "binpack: must be cpu or memory"),
        ({"constraints": ["rack == a"]}, "constraints: not an expression of ECS"),
        ({"affinity": ["cache"]}, "affinity: 'cache' is not app:NAME, job:NAME or family:FAMILY"),
        ({"spread": ["zone"] * 5, "binpack": "cpu"}, "spread: ECS takes 5 strategies"),
        (
            {"constraints": ["attribute:a exists"] * 9, "affinity": ["app:a", "app:b"]},
            "constraints: ECS takes 10",
        ),
        ({"plugin": "gpu", "spread": ["zone"]}, "plugin: it chooses the host"),
        ({"plugin": "os:system"}, "plugin: a name is"),
        ({"near": []}, "near: unknown key"),
    ],
)
def test_what_ecs_would_refuse_is_refused_when_it_is_loaded(table, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=r"apps\.web\.placement: ") as refused:
        app(**table)
    assert problem in str(refused.value)
    with pytest.raises(BadRequestError, match="placement: ") as refused_job:
        parse_description({"name": "job", "placement": table})
    assert problem in str(refused_job.value)


def test_fargate_takes_none() -> None:
    table = {"image": "x", "launch_type": "FARGATE", "network_mode": "awsvpc"}
    with pytest.raises(ConfigurationError, match=FARGATE_REFUSAL):
        parse_app("web", table | {"placement": {"spread": ["zone"]}})
    with pytest.raises(BadRequestError, match=FARGATE_REFUSAL):
        parse_description({"name": "j", "launchType": "FARGATE", "placement": {"binpack": "cpu"}})


PEERS = st.sampled_from(["app:a", "job:b_c", "family:d"])
PLACEMENTS = st.builds(
    Placement,
    spread=st.lists(st.sampled_from(["zone", "host", "attribute:rack"]), max_size=4).map(tuple),
    binpack=st.sampled_from([None, "cpu", "memory"]),
    constraints=st.lists(st.just("attribute:a exists"), max_size=4).map(tuple),
    affinity=st.lists(PEERS, max_size=3).map(tuple),
    anti_affinity=st.lists(PEERS, max_size=3).map(tuple),
)


@given(PLACEMENTS)
def test_a_job_keeps_its_placement_through_its_description(placement: Placement) -> None:
    document = placement.to_json()
    assert problems_of_placement(from_json(document)) == []
    assert parse_placement(from_json(document)) == placement
    described = parse_description({"name": "job", "placement": document})
    assert described.placement == placement
    assert parse_description(described.to_json()) == described


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
KEYS = st.sampled_from(["spread", "binpack", "constraints", "affinity", "anti_affinity", "plugin"])


@given(st.dictionaries(KEYS, JSON) | JSON)
def test_whatever_is_written_there_is_read_or_refused(table) -> None:
    if not problems_of_placement(table):
        parse_placement(table).expressions("s")
