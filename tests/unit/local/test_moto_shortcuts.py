import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws
from moto.core.serialize import JSONSerializer, XFormedAttributePicker
from moto.core.utils import get_service_model
from moto.dynamodb.exceptions import InvalidTokenException
from moto.dynamodb.parsing.expressions import UpdateExpressionParser

from local.aws.moto import shortcuts
from local.aws.moto.shortcuts import AttributeValues
from local.aws.moto.update_expressions import copy_tree, parse_as

parse = parse_as(UpdateExpressionParser.make)

SCALARS = st.one_of(
    st.fixed_dictionaries({"S": st.text()}),
    st.fixed_dictionaries({"N": st.integers().map(str)}),
    st.fixed_dictionaries({"B": st.binary()}),
    st.fixed_dictionaries({"BOOL": st.booleans()}),
    st.just({"NULL": True}),
    st.fixed_dictionaries({"SS": st.lists(st.text(), min_size=1)}),
    st.fixed_dictionaries({"NS": st.lists(st.integers().map(str), min_size=1)}),
    st.fixed_dictionaries({"BS": st.lists(st.binary(), min_size=1)}),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"L": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"M": st.dictionaries(st.text(), inner, max_size=3)}),
    ),
    max_leaves=10,
)


def written(serializer, item):
    operation = get_service_model("dynamodb").operation_model("GetItem")
    writer = serializer(
        operation_model=operation, pretty_print=False, value_picker=XFormedAttributePicker()
    )
    return writer.serialize({"Item": item})["body"]


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_the_shortcut_writes_what_moto_writes(item):
    assert written(AttributeValues, item) == written(JSONSerializer, item)


def test_a_tree_is_parsed_once_and_each_update_gets_a_copy_of_it():
    expression = "SET #state = :ended, n = if_not_exists(n, :zero) + :one REMOVE #task"
    tree = parse(expression)
    assert parse(expression) is tree
    copies = [copy_tree(tree) for _ in range(2)]
    copies[0].children.clear()
    assert [child.type for child in copies[1].children] == [child.type for child in tree.children]
    assert tree.children
    assert copies[1] is not tree
    assert all(child.parent is copies[1] for child in copies[1].children)


def test_an_expression_that_cannot_be_parsed_is_refused_each_time():
    for _ in range(2):
        with pytest.raises(InvalidTokenException):
            parse("SET #state = ;")


def test_other_values_are_copied_too():
    value = {"L": [{"S": "a"}]}
    copied = copy_tree(value)
    copied["L"].clear()
    assert value == {"L": [{"S": "a"}]}


def test_threads_that_query_an_index_first_find_all_of_it(monkeypatch):
    shortcuts.take()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    interval = sys.getswitchinterval()
    with mock_aws(), ThreadPoolExecutor(8) as threads:
        client = boto3.client("dynamodb", region_name="us-east-1")
        client.create_table(
            TableName="t",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in ("id", "bucket")
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "buckets",
                    "KeySchema": [{"AttributeName": "bucket", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        )
        for number in range(64):
            item = {"id": {"S": str(number)}, "bucket": {"S": str(number % 8)}}
            client.put_item(TableName="t", Item=item)

        def count_of(bucket):
            return client.query(
                TableName="t",
                IndexName="buckets",
                KeyConditionExpression="bucket = :b",
                ExpressionAttributeValues={":b": {"S": str(bucket)}},
            )["Count"]

        sys.setswitchinterval(1e-6)
        try:
            assert list(threads.map(count_of, range(8))) == [8] * 8
        finally:
            sys.setswitchinterval(interval)
