"""The cluster query language: which hosts an expression selects."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.cluster_query import ExpressionError, only_attributes, parse_expression

FACTS = {
    "attribute:zone": ["a"],
    "attribute:size": ["big"],
    "attribute:cores": ["8"],
    "attribute:ecs.instance-type": ["c7g.large"],
    "ec2InstanceId": ["i-1"],
    "task:group": ["family:web", "family:batch"],
    "runningTasksCount": ["3"],
    "registeredAt": ["1700000000"],
    "agentVersion": ["1.80.0"],
    "agentConnected": ["true"],
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("attribute:zone == a", True),
        ("attribute:zone equals a", True),
        ("attribute:zone != a", False),
        ("attribute:zone not_equals b", True),
        ("attribute:zone in [b, a]", True),
        ("attribute:zone !in [b, a]", False),
        ("attribute:zone not_in [b, c]", True),
        ("attribute:size == 'big'", True),
        ("attribute:absent == a", False),
        ("attribute:absent != a", True),
        ("attribute:absent exists", False),
        ("attribute:absent !exists", True),
        ("attribute:zone not_exists", False),
        ("attribute:cores > 4", True),
        ("attribute:cores >= 10", False),
        ("attribute:cores less_than 10", True),
        ("attribute:absent > 4", False),
        ("attribute:ecs.instance-type =~ c7g.*", True),
        ("attribute:ecs.instance-type =~ c7", False),
        ("attribute:ecs.instance-type !~ 'c7g.(large|xlarge)'", False),
        ("ec2InstanceId in ['i-1']", True),
        ("task:group == family:web", True),
        ("task:group == family:other", False),
        ("task:group != family:web", False),
        ("not(task:group == family:web)", False),
        ("!(task:group == family:other)", True),
        ("task:group =~ family:b.*", True),
        ("runningTasksCount < 4", True),
        ("registeredAt > 2023-11-14T22:00:00", True),
        ("registeredAt <= 2023-11-14T22:00:00Z", False),
        ("agentVersion >= 1.9.0", True),
        ("agentConnected == true", True),
        ("attribute:zone == b or attribute:size == big and attribute:zone == a", True),
        ("(attribute:zone == a or attribute:size == small) and attribute:zone == b", False),
        ("attribute:zone == a && !(attribute:size == small || attribute:size == tiny)", True),
        ("not not attribute:zone == a", True),
    ],
)
def test_an_expression_selects_by_what_a_host_is(text: str, matches: bool) -> None:
    assert parse_expression(text).matches(FACTS) is matches


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zone == a",
        "attribute:zone",
        "attribute:zone ==",
        "attribute:zone == [a]",
        "attribute:zone in a",
        "attribute:zone in [a",
        "attribute:zone in []",
        "attribute:zone == a b",
        "(attribute:zone == a",
        "attribute:zone == a and",
        "attribute:zone ~ a",
        "attribute:zone =~ '('",
        "runningTasksCount < many",
        "runningTasksCount in [1, 2]",
        "registeredAt > yesterday",
        "task:group exists",
        "attribute:zone == " + "a" * 2_000,
    ],
)
def test_what_ecs_does_not_take_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_expression(text)


def test_what_reads_attributes_alone_stays_as_it_is_while_a_host_lives() -> None:
    assert only_attributes(parse_expression("attribute:a == b and not attribute:c exists"))
    assert not only_attributes(parse_expression("attribute:a == b or task:group == x"))


SIMPLE = st.sampled_from(
    [("attribute:zone == a", True), ("attribute:zone == b", False), ("attribute:x exists", False)]
)
TREES = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(
            lambda pair: (f"({pair[0][0]}) and ({pair[1][0]})", pair[0][1] and pair[1][1])
        ),
        st.tuples(inner, inner).map(
            lambda pair: (f"({pair[0][0]}) || ({pair[1][0]})", pair[0][1] or pair[1][1])
        ),
        inner.map(lambda one: (f"not({one[0]})", not one[1])),
    ),
    max_leaves=8,
)


@given(TREES)
def test_any_nesting_means_what_it_says(tree: tuple[str, bool]) -> None:
    text, expected = tree
    assert parse_expression(text).matches(FACTS) is expected


@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        parse_expression(text).matches(FACTS)
