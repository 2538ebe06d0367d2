"""The embedded DynamoDB refuses the requests that DynamoDB refuses, with the same messages."""

import re

import pytest
from botocore.exceptions import ClientError

from tests.embedded_tables import EmbeddedTables

KEY = {"id": {"S": "a"}, "at": {"N": "1"}}
ID = {":v": {"S": "a"}}
AT = {"ExpressionAttributeNames": {"#a": "at"}}


@pytest.fixture(scope="module")
def dynamodb():
    tables = EmbeddedTables()
    tables.reset()
    client = tables.client()
    client.create_table(
        TableName="t",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": "id", "KeyType": "HASH"},
            {"AttributeName": "at", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "id", "AttributeType": "S"},
            {"AttributeName": "at", "AttributeType": "N"},
            {"AttributeName": "day", "AttributeType": "S"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_day",
                "KeySchema": [{"AttributeName": "day", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    return client


def refused(words, call, **parameters):
    with pytest.raises(ClientError, match=re.escape(words)) as caught:
        call(**parameters)
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def query(dynamodb, condition, **more):
    values = ID | more.pop("values", {})
    return {
        "TableName": "t",
        "KeyConditionExpression": condition,
        "ExpressionAttributeValues": values,
    } | more


@pytest.mark.parametrize(
    ("condition", "more", "words"),
    [
        (
            "day = :v",
            {"IndexName": "by_day"},
            "Invalid KeyConditionExpression: Attribute name is a reserved keyword; "
            "reserved keyword: day",
        ),
        ("id = :v OR id = :v", {}, "Invalid operator used in KeyConditionExpression: OR"),
        (
            "id = :v AND #a <> :w",
            AT | {"values": {":w": {"N": "1"}}},
            "Invalid operator used in KeyConditionExpression: <>",
        ),
        (
            "id = :v AND #a > :w AND #a < :w",
            AT | {"values": {":w": {"N": "1"}}},
            "KeyConditionExpressions must only contain one condition per key",
        ),
        (
            "#a = :v",
            AT | {"values": {":v": {"N": "1"}}},
            "Query condition missed key schema element: id",
        ),
        ("id > :v", {}, "Query key condition not supported"),
        (
            "id = :v",
            {"values": {":v": {"N": "1"}}},
            "One or more parameter values were invalid: Condition parameter type does not match "
            "schema type",
        ),
        (
            "id = :v",
            {"FilterExpression": "id = :v"},
            "Filter Expression can only contain non-primary key attributes: "
            "Primary key attribute: id",
        ),
        (
            "id = :v AND #a BETWEEN :w AND :x",
            AT | {"values": {":w": {"N": "10"}, ":x": {"N": "9"}}},
            "Invalid KeyConditionExpression: The BETWEEN operator requires upper bound to be "
            "greater than or equal to lower bound; lower bound operand: AttributeValue: {N:10}, "
            "upper bound operand: AttributeValue: {N:9}",
        ),
        (
            "id = :v",
            {"values": {":w": {"S": "x"}}},
            "Value provided in ExpressionAttributeValues unused in expressions: keys: {:w}",
        ),
        (
            "id = :v",
            {"ExclusiveStartKey": {"id": {"S": "b"}, "at": {"N": "1"}}},
            "The provided starting key is outside query boundaries based on provided conditions",
        ),
        (
            "id = :v",
            {"ExclusiveStartKey": {"id": {"S": "a"}}},
            "The provided starting key is invalid",
        ),
    ],
)
def test_a_query_that_breaks_a_rule_is_refused(dynamodb, condition, more, words):
    refused(words, dynamodb.query, **query(dynamodb, condition, **more))


def test_what_a_query_may_ask_for_is_answered(dynamodb):
    dynamodb.put_item(TableName="t", Item=KEY)
    asked = query(
        dynamodb,
        "id = :v AND #a BETWEEN :w AND :x",
        values={":w": {"N": "9"}, ":x": {"N": "10"}},
        **AT,
    )
    assert dynamodb.query(**asked)["Count"] == 0
    start = {"ExclusiveStartKey": KEY}
    assert dynamodb.query(**query(dynamodb, "id = :v", **start))["Count"] == 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"ConditionExpression": "attribute_not_exists(pool)"},
            "Invalid ConditionExpression: Attribute name is a reserved keyword; "
            "reserved keyword: pool",
        ),
        (
            {
                "ConditionExpression": "attribute_exists(id)",
                "ExpressionAttributeNames": {"#x": "x"},
            },
            "Value provided in ExpressionAttributeNames unused in expressions: keys: {#x}",
        ),
        (
            {"ConditionExpression": "attribute_exists(id)", "ExpressionAttributeValues": ID},
            "Value provided in ExpressionAttributeValues unused in expressions: keys: {:v}",
        ),
        (
            {"ExpressionAttributeValues": ID},
            "ExpressionAttributeValues can only be specified when using expressions",
        ),
        (
            {"ConditionExpression": "id = :q", "ExpressionAttributeValues": ID},
            "Invalid ConditionExpression: An expression attribute value used in expression is not "
            "defined; attribute value: :q",
        ),
        (
            {"ConditionExpression": "attribute_exists(#q)"},
            "Invalid ConditionExpression: An expression attribute name used in the document path "
            "is not defined; attribute name: #q",
        ),
        (
            {"Item": KEY | {"id": {"S": ""}}},
            "The AttributeValue for a key attribute cannot contain an empty string value. Key: id",
        ),
        (
            {"Item": KEY | {"x": {"S": "x" * 409_600}}},
            "Item size has exceeded the maximum allowed size",
        ),
        (
            {"Item": KEY | {"n": {"L": [{"N": "1" * 39}]}}},
            "Attempting to store more than 38 significant digits in a Number",
        ),
        (
            {"Item": KEY | {"n": {"N": "1e126"}}},
            "Number overflow. Attempting to store a number with magnitude larger than supported "
            "range",
        ),
        ({"Item": KEY | {"n": {"N": "1e-131"}}}, "Number underflow."),
    ],
)
def test_a_put_that_breaks_a_rule_is_refused(dynamodb, more, words):
    put = {"TableName": "t", "Item": KEY} | more
    refused(words, dynamodb.put_item, **put)
    if "underflow" not in words:
        refused(words, dynamodb.transact_write_items, TransactItems=[{"Put": put}])


def test_a_number_of_38_digits_is_taken(dynamodb):
    number = {"N": "1" * 38 + "0" * 20}
    dynamodb.put_item(TableName="t", Item=KEY | {"n": number})


def items(number, size=0):
    return [{"id": {"S": str(n)}, "at": {"N": "1"}, "x": {"S": "x" * size}} for n in range(number)]


def test_bounds_of_transactions(dynamodb):
    def puts(many):
        return [{"Put": {"TableName": "t", "Item": item}} for item in many]

    write = dynamodb.transact_write_items
    refused(
        "Member must have length less than or equal to 100", write, TransactItems=puts(items(101))
    )
    refused(
        "Transaction request cannot include multiple operations on one item",
        write,
        TransactItems=[*puts([KEY]), {"Delete": {"TableName": "t", "Key": KEY}}],
    )
    refused(
        "The aggregate size of the items in the transaction cannot exceed 4 MB",
        write,
        TransactItems=puts(items(12, 390_000)),
    )


def test_bounds_of_batches(dynamodb):
    keys = [{"id": {"S": str(n)}, "at": {"N": "1"}} for n in range(101)]
    refused(
        "Member must have length less than or equal to 100",
        dynamodb.batch_get_item,
        RequestItems={"t": {"Keys": keys}},
    )
    puts = [{"PutRequest": {"Item": item}} for item in items(26)]
    refused(
        "Map value must satisfy constraint: [Member must have length less than or equal to 25, "
        "Member must have length greater than or equal to 1]",
        dynamodb.batch_write_item,
        RequestItems={"t": puts},
    )
    dynamodb.batch_write_item(RequestItems={"t": puts[:25]})


def test_a_page_has_one_megabyte(dynamodb):
    for n in range(5):
        item = {"id": {"S": "page"}, "at": {"N": str(n)}, "x": {"S": "x" * 300_000}}
        dynamodb.put_item(TableName="t", Item=item)
    page = dynamodb.query(**query(dynamodb, "id = :v", values={":v": {"S": "page"}}))
    assert page["Count"] == 3
    assert page["LastEvaluatedKey"] == {"id": {"S": "page"}, "at": {"N": "2"}}


def test_a_page_of_an_index_has_one_megabyte_of_what_is_projected(dynamodb):
    """ "Query", API reference: the size of index entries counts, not that of the items."""
    index = {
        "IndexName": "keys",
        "KeySchema": [{"AttributeName": "day", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    dynamodb.create_table(
        TableName="many",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": "id", "AttributeType": "S"},
            {"AttributeName": "day", "AttributeType": "S"},
        ],
        GlobalSecondaryIndexes=[index],
    )
    for number in range(5):
        item = {"id": {"S": str(number)}, "day": {"S": "x"}, "text": {"S": "x" * 300_000}}
        dynamodb.put_item(TableName="many", Item=item)
    page = dynamodb.query(
        TableName="many",
        IndexName="keys",
        KeyConditionExpression="#d = :d",
        ExpressionAttributeNames={"#d": "day"},
        ExpressionAttributeValues={":d": {"S": "x"}},
    )
    assert (page["Count"], page.get("LastEvaluatedKey")) == (5, None)
    assert all(item.keys() == {"id", "day"} for item in page["Items"])
