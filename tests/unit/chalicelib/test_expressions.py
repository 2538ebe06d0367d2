"""The expressions of requests to DynamoDB, and the check for names without a placeholder."""

import string

import pytest
from boto3.dynamodb import conditions as boto3s
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.dynamodb.expressions import Attr, expressions
from chalicelib.dynamodb.serialization import serialize
from local.aws.dynamodb.expressions import references_of
from tests.expressions import BareNameError, check_expressions, expressions_in

names = st.sampled_from(["pool", "day", "state", "owner", "n", "lease_until", "timestamp"])
values = st.integers() | st.text(min_size=1)


@given(key=names, other=names, value=values, sets=st.dictionaries(names, values, max_size=3))
def test_no_name_is_written_out_and_each_placeholder_is_used(key, other, value, sets):
    arguments = expressions(
        key=Attr(key).eq(value) & Attr(other).between(1, 2),
        condition=Attr(other).not_exists() | ~Attr(key).lt(value),
        set_values=sets,
        add_values={"counter": 1},
        remove=["old"],
        projection=["id", key],
    )
    used = set()
    for kind, expression in expressions_in(arguments):
        references = references_of(kind, expression)
        assert references.bare_names == ()
        used |= references.name_placeholders | references.value_placeholders
    assert used == set(arguments["ExpressionAttributeNames"]) | set(
        arguments["ExpressionAttributeValues"]
    )


def comparisons(attribute):
    """Conditions on one attribute, by this project's and by boto3's builder."""
    of = st.tuples(st.sampled_from(["eq", "lt", "gt", "gte"]), values)
    return st.one_of(
        of.map(lambda drawn: (drawn[0], (drawn[1],))),
        st.tuples(values, values).map(lambda ends: ("between", ends)),
        st.just(("not_exists", ())),
    ).map(
        lambda call: tuple(
            getattr(builder(attribute), call[0])(*call[1]) for builder in (Attr, boto3s.Attr)
        )
    )


both_builders = st.recursive(
    names.flatmap(comparisons),
    lambda parts: st.one_of(
        st.tuples(parts, parts).map(lambda p: (p[0][0] & p[1][0], p[0][1] & p[1][1])),
        st.tuples(parts, parts).map(lambda p: (p[0][0] | p[1][0], p[0][1] | p[1][1])),
        parts.map(lambda p: (~p[0], ~p[1])),
    ),
    max_leaves=6,
)


@given(both_builders)
def test_a_condition_is_the_one_that_boto3_builds(built):
    own, boto3_condition = built
    arguments = expressions(condition=own)
    expected = boto3s.ConditionExpressionBuilder().build_expression(boto3_condition)
    text = arguments["ConditionExpression"].replace("#a", "#n").replace(":a", ":v")
    assert text == expected.condition_expression
    assert list(arguments["ExpressionAttributeNames"].values()) == list(
        expected.attribute_name_placeholders.values()
    )
    assert [*arguments.get("ExpressionAttributeValues", {}).values()] == [
        serialize({"value": value})["value"]
        for value in expected.attribute_value_placeholders.values()
    ]


def test_each_clause_of_an_update():
    arguments = expressions(set_values={"a": 1}, add_values={"n": -1}, remove=["b", "c"])
    assert arguments == {
        "UpdateExpression": "SET #a0 = :a0 ADD #a1 :a1 REMOVE #a2, #a3",
        "ExpressionAttributeNames": {"#a0": "a", "#a1": "n", "#a2": "b", "#a3": "c"},
        "ExpressionAttributeValues": {":a0": {"N": "1"}, ":a1": {"N": "-1"}},
    }


def test_without_anything_there_are_no_arguments():
    assert expressions() == {}


@pytest.mark.parametrize(
    ("kind", "expression", "bare"),
    [
        ("KeyConditionExpression", "pool = :value", ["pool"]),
        ("KeyConditionExpression", "#p = :value AND day BETWEEN :low AND :high", ["day"]),
        ("ConditionExpression", "attribute_not_exists(id) OR NOT n IN (:a, :b)", ["id", "n"]),
        ("ConditionExpression", "size(#a.b[3]) > :c", ["b"]),
        ("UpdateExpression", "ADD n :one SET x = if_not_exists(y, :none)", ["n", "x", "y"]),
        ("UpdateExpression", "SET #a = list_append(#a, :b) REMOVE #c[1]", []),
        ("ProjectionExpression", "id, #a, set", ["id", "set"]),
        ("FilterExpression", "#a<>:b and(#c<=:d)", []),
    ],
)
def test_names_that_are_written_out_are_found(kind, expression, bare):
    assert list(references_of(kind, expression).bare_names) == bare


@given(st.text(string.printable, max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        references_of("ConditionExpression", text)
    except ValueError as error:
        assert "Syntax error" in str(error)  # noqa: PT017 - nothing is raised for most texts


def test_names_inside_of_transactions_are_found_and_data_is_not_read():
    body = '{"TransactItems":[{"Update":{"UpdateExpression":"ADD n :x"}}]}'
    with pytest.raises(BareNameError, match="ADD n :x"):
        check_expressions(body)
    assert check_expressions('{"Item":{"ConditionExpression":"a = b"}}') == 0
