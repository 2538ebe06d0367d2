"""The capacity file: one schema, all faults at once with where they are."""

import tomllib

import pytest

from chalicelib.capacity.groups import (
    ONE_GROUP,
    UNBOUNDED,
    Amount,
    Tier,
    check_members,
    container,
    parse_groups,
)
from chalicelib.errors import ConfigurationError

GOOD = """
default = "batch"
judges = "marks"

[cluster]
places = 100
memory = 50000

[groups.live]
tier = "critical"
guarantee = { places = 60, memory = 30000 }
weight = 4

[groups.marks]
guarantee = { places = 10, memory = 10000 }
maximum = { places = 10 }

[groups.batch]
"""


def test_a_whole_file() -> None:
    groups = parse_groups(tomllib.loads(GOOD))
    assert groups.resources == ("places", "memory")
    live, marks, batch = groups.by_name.values()
    assert (live.tier, live.weight, live.lend) == (Tier.CRITICAL, 4, False)
    assert (marks.tier, marks.lend) == (Tier.FLEX, True)
    assert marks.maximum == Amount(10, UNBOUNDED, UNBOUNDED)
    assert batch.guarantee == Amount()
    assert groups.of(None) is batch
    assert groups.of("gone") is batch
    assert groups.judges == "marks"


def test_no_file_is_one_group_that_nothing_bounds() -> None:
    assert parse_groups({}) is ONE_GROUP
    assert not ONE_GROUP.is_counted
    assert ONE_GROUP.resources == ()
    assert ONE_GROUP.problem_of_size(None, container(10**6, 10**6)) is None


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_groups(tomllib.loads(text))
    return str(caught.value).split("; ")


def test_all_faults_are_told_at_once_and_where_they_are() -> None:
    text = """
    colour = 1
    default = "batsh"
    [cluster]
    places = -1
    [groups.Live]
    tier = "gold"
    weight = 0
    lend = "yes"
    guarantee = { places = 5, disks = 2 }
    maximum = { places = 3 }
    [groups.batch]
    size = 3
    """
    found = problems(text)
    assert found == [
        "colour: unknown key",
        "cluster.places: a whole number from 0 to 1000000000",
        "groups.Live: a name is [a-z][a-z0-9-]{0,31}",
        "groups.Live.tier: one of critical, flex, not 'gold'",
        "groups.Live.weight: a whole number from 1 to 1000",
        "groups.Live.lend: true or false",
        "groups.Live.guarantee.disks: unknown key",
        "groups.Live.guarantee.places: 5 is more than its maximum of 3",
        "groups.batch.size: unknown key",
        "default: no capacity group is called 'batsh': did you mean batch?",
    ]


def test_guarantees_have_to_fit_the_cluster_and_the_numbers_are_said() -> None:
    text = """
    [cluster]
    places = 100
    [groups.live]
    guarantee = { places = 80 }
    [groups.batch]
    guarantee = { places = 45 }
    [groups.rest]
    """
    (said,) = problems(text)
    assert said == (
        "groups: the guarantees of places are 125 (live 80 + batch 45), "
        "25 more than the cluster's 100"
    )


def test_a_guarantee_says_as_much_as_the_cluster_does() -> None:
    text = """
    [cluster]
    places = 100
    memory = 4096
    [groups.live]
    guarantee = { places = 8, cpu = 1024 }
    """
    assert problems(text) == [
        "groups.live.guarantee.cpu: [cluster] has to say how much cpu there is",
        "groups.live.guarantee.memory: missing, and [cluster] bounds it at 4096: "
        "without it nothing is guaranteed",
    ]


@pytest.mark.parametrize(
    "text", ["default = 'x'", "groups = 3", "groups = {}", "groups.a = 3\ncluster = 4"]
)
def test_what_is_no_file_of_groups(text: str) -> None:
    assert problems(text)


def test_members_are_checked_all_at_once() -> None:
    groups = parse_groups(tomllib.loads(GOOD))
    members = {
        "apps.listings": ("live", container(128, 128)),
        "apps.chat": ("lve", container(128, 128)),
        "apps.huge": (None, container(128, 60_000)),
    }
    with pytest.raises(ConfigurationError) as caught:
        check_members(groups, members)
    assert str(caught.value).split("; ") == [
        "apps.chat.group: no capacity group is called 'lve': did you mean live?",
        "apps.huge: memory 60000 is more than the 50000 that capacity group batch may have",
    ]
