"""Indexes of the embedded DynamoDB show writes late, as those of AWS do."""

import pytest
from botocore.exceptions import ClientError

from local.aws.dynamodb.index_lag import LAG
from tests.embedded_tables import EmbeddedTables

TABLE = {
    "TableName": "t",
    "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [
        {"AttributeName": "id", "AttributeType": "S"},
        {"AttributeName": "grp", "AttributeType": "S"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by_grp",
            "KeySchema": [{"AttributeName": "grp", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
}


@pytest.fixture
def now():
    """The clock, to be moved."""
    now = [1_000.0]
    LAG.set(10.0, seed=1, now=lambda: now[0])
    yield now
    LAG.set(0.0)


@pytest.fixture
def dynamodb(now):
    tables = EmbeddedTables()
    tables.reset()
    client = tables.client()
    client.create_table(**TABLE)
    return client


def query(dynamodb, **more):
    asked = {
        "TableName": "t",
        "IndexName": "by_grp",
        "KeyConditionExpression": "#g = :g",
        "ExpressionAttributeNames": {"#g": "grp"},
        "ExpressionAttributeValues": {":g": {"S": "x"}},
    }
    return dynamodb.query(**asked | more)


def shown(dynamodb):
    """Returns the index's items of the group, by a query and by a scan, as ids and values."""
    queried = query(dynamodb)["Items"]
    scanned = dynamodb.scan(TableName="t", IndexName="by_grp")["Items"]
    as_queried = sorted((i["id"]["S"], i.get("v", {}).get("N")) for i in queried)
    assert sorted((i["id"]["S"], i.get("v", {}).get("N")) for i in scanned) == as_queried
    return as_queried


def put(dynamodb, value="1", item_id="a"):
    item = {"id": {"S": item_id}, "grp": {"S": "x"}, "v": {"N": value}}
    dynamodb.put_item(TableName="t", Item=item)


def test_a_put_is_in_the_table_at_once_and_in_the_index_later(dynamodb, now):
    put(dynamodb)
    assert "Item" in dynamodb.get_item(TableName="t", Key={"id": {"S": "a"}})
    assert shown(dynamodb) == []
    now[0] += 10
    assert shown(dynamodb) == [("a", "1")]


def update(dynamodb):
    dynamodb.update_item(
        TableName="t",
        Key={"id": {"S": "a"}},
        UpdateExpression="SET #v = :v",
        ExpressionAttributeNames={"#v": "v"},
        ExpressionAttributeValues={":v": {"N": "2"}},
    )


def update_in_transaction(dynamodb):
    item = {"id": {"S": "a"}, "grp": {"S": "x"}, "v": {"N": "2"}}
    dynamodb.transact_write_items(TransactItems=[{"Put": {"TableName": "t", "Item": item}}])


@pytest.mark.parametrize("change", [update, update_in_transaction])
def test_a_change_is_shown_later(dynamodb, now, change):
    put(dynamodb)
    now[0] += 10
    change(dynamodb)
    assert shown(dynamodb) == [("a", "1")]
    now[0] += 10
    assert shown(dynamodb) == [("a", "2")]


def delete(dynamodb):
    dynamodb.delete_item(TableName="t", Key={"id": {"S": "a"}})


def delete_in_transaction(dynamodb):
    key = {"TableName": "t", "Key": {"id": {"S": "a"}}}
    dynamodb.transact_write_items(TransactItems=[{"Delete": key}])


@pytest.mark.parametrize("remove", [delete, delete_in_transaction])
def test_what_was_deleted_is_shown_a_while_yet(dynamodb, now, remove):
    put(dynamodb)
    now[0] += 10
    remove(dynamodb)
    assert shown(dynamodb) == [("a", "1")]
    now[0] += 10
    assert shown(dynamodb) == []


def test_a_write_that_was_refused_changes_nothing_in_the_index(dynamodb, now):
    put(dynamodb)
    now[0] += 10
    with pytest.raises(ClientError, match="The conditional request failed"):
        dynamodb.put_item(
            TableName="t",
            Item={"id": {"S": "a"}, "grp": {"S": "x"}, "v": {"N": "2"}},
            ConditionExpression="attribute_not_exists(#id)",
            ExpressionAttributeNames={"#id": "id"},
        )
    assert shown(dynamodb) == [("a", "1")]
    now[0] += 10
    assert shown(dynamodb) == [("a", "1")]


def test_pages_of_a_lagging_index_are_complete(dynamodb, now):
    for number in range(6):
        put(dynamodb, item_id=f"old-{number}")
    now[0] += 10
    for number in range(6):
        delete(dynamodb) if number % 2 else put(dynamodb, "2", f"old-{number}")
    found, more = [], {}
    while True:
        page = query(dynamodb, Limit=1, **more)
        found += [(item["id"]["S"], item["v"]["N"]) for item in page["Items"]]
        if "LastEvaluatedKey" not in page:
            break
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
    assert found == [(f"old-{number}", "1") for number in range(6)]


def test_a_consistent_read_of_an_index_is_refused(dynamodb):
    words = "Consistent reads are not supported on global secondary indexes"
    with pytest.raises(ClientError, match=words):
        query(dynamodb, ConsistentRead=True)
    with pytest.raises(ClientError, match=words):
        dynamodb.scan(TableName="t", IndexName="by_grp", ConsistentRead=True)
