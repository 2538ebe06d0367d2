"""Requests that services of AWS refuse, one for each rule: for the embedded ones and others.

Sources of the rules: the API reference of DynamoDB (Query, Scan, PutItem, UpdateItem, BatchGetItem,
BatchWriteItem, TransactWriteItems, TransactGetItems), "Constraints in Amazon DynamoDB", "Reserved
words" and "Key condition expressions" of its developer guide.
"""

from typing import Any, NamedTuple

TABLE = "wrong"
CREATE: dict[str, Any] = {
    "TableName": TABLE,
    "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": [
        {"AttributeName": "id", "KeyType": "HASH"},
        {"AttributeName": "at", "KeyType": "RANGE"},
    ],
    "AttributeDefinitions": [
        {"AttributeName": "id", "AttributeType": "S"},
        {"AttributeName": "at", "AttributeType": "N"},
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
KEY = {"id": {"S": "a"}, "at": {"N": "1"}}
V = {":v": {"S": "a"}}
VN = {":v": {"S": "a"}, ":n": {"N": "1"}}
AT = {"#a": "at"}


class Wrong(NamedTuple):
    """One request with one mistake."""

    name: str
    operation: str
    parameters: dict[str, Any]


def _query(name: str, condition: str, **more: Any) -> Wrong:
    asked = {"KeyConditionExpression": condition, "ExpressionAttributeValues": V}
    return Wrong(f"query: {name}", "query", {"TableName": TABLE} | asked | more)


def _put(name: str, item: Any = None, **more: Any) -> Wrong:
    return Wrong(
        f"put: {name}", "put_item", {"TableName": TABLE, "Item": KEY | (item or {})} | more
    )


def _update(name: str, expression: str, **more: Any) -> Wrong:
    asked = {"TableName": TABLE, "Key": KEY, "UpdateExpression": expression}
    return Wrong(f"update: {name}", "update_item", asked | more)


def _write(name: str, *entries: Any) -> Wrong:
    return Wrong(f"transaction: {name}", "transact_write_items", {"TransactItems": list(entries)})


def _deep(levels: int) -> dict[str, Any]:
    """A value inside of so many lists."""
    return {"L": [_deep(levels - 1)]} if levels else {"S": "x"}


def _items(count: int, size: int = 0) -> list[dict[str, Any]]:
    return [{"id": {"S": str(n)}, "at": {"N": "1"}, "x": {"S": "x" * size}} for n in range(count)]


def _puts(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"Put": {"TableName": TABLE, "Item": item}} for item in items]


QUERIES = [
    _query("reserved word", "day = :v"),
    _query("reserved word of an index", "pool = :v", IndexName="by_grp"),
    _query("OR", "id = :v OR id = :v"),
    _query("NOT", "NOT id = :v"),
    _query(
        "unequal", "id = :v AND #a <> :n", ExpressionAttributeNames=AT, ExpressionAttributeValues=VN
    ),
    _query(
        "two conditions for one key",
        "id = :v AND #a > :n AND #a < :n",
        ExpressionAttributeNames=AT,
        ExpressionAttributeValues=VN,
    ),
    _query(
        "no partition key",
        "#a = :n",
        ExpressionAttributeNames=AT,
        ExpressionAttributeValues={":n": {"N": "1"}},
    ),
    _query("range of the partition key", "id > :v"),
    _query("type of the key", "id = :v", ExpressionAttributeValues={":v": {"N": "1"}}),
    _query("attribute that is no key", "id = :v AND x = :v"),
    _query(
        "begins_with of a number",
        "id = :v AND begins_with(#a, :n)",
        ExpressionAttributeNames=AT,
        ExpressionAttributeValues=VN,
    ),
    _query("filter by a key", "id = :v", FilterExpression="id = :v"),
    _query(
        "BETWEEN upside down",
        "id = :v AND #a BETWEEN :n AND :m",
        ExpressionAttributeNames=AT,
        ExpressionAttributeValues=VN | {":m": {"N": "0"}},
    ),
    _query("unused value", "id = :v", ExpressionAttributeValues=VN),
    _query("unused name", "id = :v", ExpressionAttributeNames=AT),
    _query("value that is not defined", "id = :w", ExpressionAttributeValues=V),
    _query("name that is not defined", "#i = :v"),
    _query(
        "start key of another partition",
        "id = :v",
        ExclusiveStartKey={"id": {"S": "b"}, "at": {"N": "1"}},
    ),
    _query("start key without its sort key", "id = :v", ExclusiveStartKey={"id": {"S": "a"}}),
    _query("start key with more", "id = :v", ExclusiveStartKey=KEY | {"x": {"S": "x"}}),
    _query(
        "start key of another type",
        "id = :v",
        ExclusiveStartKey={"id": {"S": "a"}, "at": {"S": "1"}},
    ),
    _query(
        "start key of an index without its key",
        "grp = :v",
        IndexName="by_grp",
        ExclusiveStartKey=KEY,
    ),
    _query("consistent read of an index", "grp = :v", IndexName="by_grp", ConsistentRead=True),
    _query("index that is not there", "grp = :v", IndexName="by_nothing"),
    _query("table that is not there", "id = :v", TableName="nowhere"),
    _query("limit of zero", "id = :v", Limit=0),
    _query("syntax", "id = = :v"),
    _query("empty condition", ""),
    _query("empty placeholder", "id = :v", ExpressionAttributeValues={":v": {"S": ""}}),
    _query("select of attributes without any", "id = :v", Select="SPECIFIC_ATTRIBUTES"),
    _query("projection of a reserved word", "id = :v", ProjectionExpression="id, size"),
    _query("projection of overlapping paths", "id = :v", ProjectionExpression="x, x.y"),
    _query("filter with a reserved word", "id = :v", FilterExpression="state = :v"),
    _query("filter with a syntax error", "id = :v", FilterExpression="x = = :v"),
    _query("filter by an unknown function", "id = :v", FilterExpression="is_there(x, :v)"),
    Wrong("query: no condition", "query", {"TableName": TABLE}),
    Wrong("scan: unused value", "scan", {"TableName": TABLE, "ExpressionAttributeValues": V}),
    Wrong(
        "scan: reserved word",
        "scan",
        {"TableName": TABLE, "FilterExpression": "owner = :v", "ExpressionAttributeValues": V},
    ),
    Wrong(
        "scan: consistent read of an index",
        "scan",
        {"TableName": TABLE, "IndexName": "by_grp", "ConsistentRead": True},
    ),
    Wrong("scan: start key", "scan", {"TableName": TABLE, "ExclusiveStartKey": {"id": {"S": "a"}}}),
    Wrong(
        "scan: segment beyond the total",
        "scan",
        {"TableName": TABLE, "Segment": 3, "TotalSegments": 2},
    ),
    Wrong("scan: segment alone", "scan", {"TableName": TABLE, "Segment": 0}),
    Wrong("scan: limit of zero", "scan", {"TableName": TABLE, "Limit": 0}),
]
GETS = [
    Wrong(
        "get: type of the key", "get_item", {"TableName": TABLE, "Key": KEY | {"at": {"S": "1"}}}
    ),
    Wrong("get: part of the key", "get_item", {"TableName": TABLE, "Key": {"id": {"S": "a"}}}),
    Wrong(
        "get: more than the key", "get_item", {"TableName": TABLE, "Key": KEY | {"x": {"S": "a"}}}
    ),
    Wrong("get: empty key", "get_item", {"TableName": TABLE, "Key": KEY | {"id": {"S": ""}}}),
    Wrong("get: table that is not there", "get_item", {"TableName": "nowhere", "Key": KEY}),
    Wrong(
        "get: reserved word",
        "get_item",
        {"TableName": TABLE, "Key": KEY, "ProjectionExpression": "ttl"},
    ),
    Wrong(
        "get: unused name",
        "get_item",
        {"TableName": TABLE, "Key": KEY, "ExpressionAttributeNames": AT},
    ),
    Wrong(
        "get: empty projection",
        "get_item",
        {"TableName": TABLE, "Key": KEY, "ProjectionExpression": ""},
    ),
    Wrong(
        "delete: type of the key",
        "delete_item",
        {"TableName": TABLE, "Key": KEY | {"at": {"S": "1"}}},
    ),
    Wrong(
        "delete: part of the key", "delete_item", {"TableName": TABLE, "Key": {"id": {"S": "a"}}}
    ),
    Wrong(
        "delete: condition that does not hold",
        "delete_item",
        {"TableName": TABLE, "Key": KEY, "ConditionExpression": "attribute_exists(id)"},
    ),
]
PUTS = [
    _put("empty key", {"id": {"S": ""}}),
    _put("empty key of an index", {"grp": {"S": ""}}),
    _put("type of the key", {"at": {"S": "1"}}),
    _put("type of an index's key", {"grp": {"N": "1"}}),
    Wrong("put: no sort key", "put_item", {"TableName": TABLE, "Item": {"id": {"S": "a"}}}),
    _put("item of more than 400 KB", {"x": {"S": "x" * 409_600}}),
    _put("no number", {"n": {"N": "one"}}),
    _put("number of 39 digits", {"n": {"N": "1" * 39}}),
    _put("number too large", {"n": {"N": "1e126"}}),
    _put("number too small", {"n": {"N": "1e-131"}}),
    _put("empty set", {"x": {"SS": []}}),
    _put("set with one element twice", {"x": {"SS": ["a", "a"]}}),
    _put("set of numbers with one element twice", {"x": {"NS": ["1", "1.0"]}}),
    _put("two types of one value", {"x": {"S": "a", "N": "1"}}),
    _put("no type of a value", {"x": {}}),
    _put("NULL that is false", {"x": {"NULL": False}}),
    _put("sort key of more than 1 KB", {"id": {"S": "k" * 2049}}),
    _put("condition that does not hold", ConditionExpression="attribute_exists(nothing)"),
    _put("condition with a reserved word", ConditionExpression="attribute_not_exists(pool)"),
    _put(
        "condition with a syntax error",
        ConditionExpression="id = = :v",
        ExpressionAttributeValues=V,
    ),
    _put("unused name", ConditionExpression="attribute_not_exists(x)", ExpressionAttributeNames=AT),
    _put(
        "unused value", ConditionExpression="attribute_not_exists(x)", ExpressionAttributeValues=V
    ),
    _put("values without an expression", ExpressionAttributeValues=V),
    _put("names without an expression", ExpressionAttributeNames=AT),
    _put("no values for an expression", ConditionExpression="id = :v"),
    _put("empty condition", ConditionExpression=""),
    _put(
        "empty values", ConditionExpression="attribute_not_exists(x)", ExpressionAttributeValues={}
    ),
    _put(
        "placeholder without its mark",
        ConditionExpression="id = :v",
        ExpressionAttributeValues=V | {"w": {"S": "a"}},
    ),
    _put("return values of an update", ReturnValues="UPDATED_NEW"),
    _put("table that is not there", TableName="nowhere"),
    _put("comparison of an operand with itself", ConditionExpression="x = x"),
    _put(
        "BETWEEN of two types",
        ConditionExpression="x BETWEEN :v AND :n",
        ExpressionAttributeValues=VN,
    ),
    _put("33 levels", {"x": _deep(33)}),
    _put(
        "order of booleans",
        ConditionExpression="x < :b",
        ExpressionAttributeValues={":b": {"BOOL": True}},
    ),
    _put("unknown function", ConditionExpression="is_there(x)"),
    _put("operands of a function", ConditionExpression="attribute_exists(x, y)"),
    _put(
        "value of two types",
        ConditionExpression="x = :v",
        ExpressionAttributeValues={":v": {"S": "a", "N": "1"}},
    ),
    _put(
        "name of a type",
        ConditionExpression="attribute_type(x, :v)",
        ExpressionAttributeValues={":v": {"S": "Z"}},
    ),
]
UPDATES = [
    _update("change of a key", "SET id = :v", ExpressionAttributeValues=V),
    _update("reserved word", "SET state = :v", ExpressionAttributeValues=V),
    _update("one path twice", "SET x = :v, x = :v", ExpressionAttributeValues=V),
    _update("paths that overlap", "SET x = :v, x.y = :v", ExpressionAttributeValues=V),
    _update("SET twice", "SET x = :v SET y = :v", ExpressionAttributeValues=V),
    _update("syntax", "SET x :v", ExpressionAttributeValues=V),
    _update("empty", ""),
    _update("ADD of a string", "ADD x :v", ExpressionAttributeValues=V),
    _update("DELETE of a number", "DELETE x :n", ExpressionAttributeValues={":n": {"N": "1"}}),
    _update(
        "sum with what is not there", "SET x = y + :n", ExpressionAttributeValues={":n": {"N": "1"}}
    ),
    _update("sum of strings", "SET x = :v + :v", ExpressionAttributeValues=V),
    _update("path into what is not there", "SET nothing.y = :v", ExpressionAttributeValues=V),
    _update("unused value", "REMOVE x", ExpressionAttributeValues=V),
    _update("unused name", "REMOVE x", ExpressionAttributeNames=AT),
    _update("value that is not defined", "SET x = :w", ExpressionAttributeValues=V),
    _update("name that is not defined", "REMOVE #x"),
    _update("unknown function", "SET x = now(:v)", ExpressionAttributeValues=V),
    _update("empty key of an index", "SET grp = :e", ExpressionAttributeValues={":e": {"S": ""}}),
    _update("type of an index's key", "SET grp = :n", ExpressionAttributeValues={":n": {"N": "1"}}),
    _update(
        "item of more than 400 KB",
        "SET x = :v",
        ExpressionAttributeValues={":v": {"S": "x" * 409_600}},
    ),
    _update("type of the key", "REMOVE x", Key=KEY | {"at": {"S": "1"}}),
    _update("part of the key", "REMOVE x", Key={"id": {"S": "a"}}),
    _update(
        "condition that does not hold", "REMOVE x", ConditionExpression="attribute_exists(nothing)"
    ),
    _update("both ways of saying it", "REMOVE x", AttributeUpdates={"x": {"Action": "DELETE"}}),
]
MANY = [
    Wrong(
        "batch get: 101 keys",
        "batch_get_item",
        {
            "RequestItems": {
                TABLE: {"Keys": [{"id": {"S": str(n)}, "at": {"N": "1"}} for n in range(101)]}
            }
        },
    ),
    Wrong(
        "batch get: one key twice",
        "batch_get_item",
        {"RequestItems": {TABLE: {"Keys": [KEY, KEY]}}},
    ),
    Wrong("batch get: nothing", "batch_get_item", {"RequestItems": {}}),
    Wrong("batch get: no keys", "batch_get_item", {"RequestItems": {TABLE: {"Keys": []}}}),
    Wrong(
        "batch get: part of the key",
        "batch_get_item",
        {"RequestItems": {TABLE: {"Keys": [{"id": {"S": "a"}}]}}},
    ),
    Wrong(
        "batch get: table that is not there",
        "batch_get_item",
        {"RequestItems": {"nowhere": {"Keys": [KEY]}}},
    ),
    Wrong(
        "batch write: 26 items",
        "batch_write_item",
        {"RequestItems": {TABLE: [{"PutRequest": {"Item": item}} for item in _items(26)]}},
    ),
    Wrong(
        "batch write: one item twice",
        "batch_write_item",
        {"RequestItems": {TABLE: [{"PutRequest": {"Item": KEY}}, {"DeleteRequest": {"Key": KEY}}]}},
    ),
    Wrong("batch write: nothing", "batch_write_item", {"RequestItems": {}}),
    Wrong(
        "batch write: empty key",
        "batch_write_item",
        {"RequestItems": {TABLE: [{"PutRequest": {"Item": KEY | {"id": {"S": ""}}}}]}},
    ),
    Wrong(
        "batch write: item of more than 400 KB",
        "batch_write_item",
        {"RequestItems": {TABLE: [{"PutRequest": {"Item": KEY | {"x": {"S": "x" * 409_600}}}}]}},
    ),
    Wrong(
        "batch write: table that is not there",
        "batch_write_item",
        {"RequestItems": {"nowhere": [{"PutRequest": {"Item": KEY}}]}},
    ),
]
TRANSACTIONS = [
    _write("101 items", *_puts(_items(101))),
    _write("nothing"),
    _write(
        "two operations on one item", *_puts([KEY]), {"Delete": {"TableName": TABLE, "Key": KEY}}
    ),
    _write(
        "two operations in one entry",
        _puts([KEY])[0] | {"Delete": {"TableName": TABLE, "Key": KEY | {"at": {"N": "2"}}}},
    ),
    _write("an entry without an operation", {}),
    _write("more than 4 MB", *_puts(_items(12, 390_000))),
    _write(
        "reserved word",
        {"Put": _puts([KEY])[0]["Put"] | {"ConditionExpression": "attribute_not_exists(pool)"}},
    ),
    _write(
        "unused value",
        {
            "Put": _puts([KEY])[0]["Put"]
            | {"ConditionExpression": "attribute_not_exists(x)", "ExpressionAttributeValues": V}
        },
    ),
    _write("empty key", *_puts([KEY | {"id": {"S": ""}}])),
    _write("item of more than 400 KB", *_puts([KEY | {"x": {"S": "x" * 409_600}}])),
    _write(
        "update of a key",
        {
            "Update": {
                "TableName": TABLE,
                "Key": KEY,
                "UpdateExpression": "SET id = :v",
                "ExpressionAttributeValues": V,
            }
        },
    ),
    _write(
        "check without a condition",
        {"ConditionCheck": {"TableName": TABLE, "Key": KEY, "ConditionExpression": ""}},
    ),
    _write(
        "condition that does not hold",
        {
            "ConditionCheck": {
                "TableName": TABLE,
                "Key": KEY,
                "ConditionExpression": "attribute_exists(nothing)",
            }
        },
    ),
    _write("table that is not there", {"Put": {"TableName": "nowhere", "Item": KEY}}),
    Wrong(
        "transaction: 101 items read",
        "transact_get_items",
        {
            "TransactItems": [
                {"Get": {"TableName": TABLE, "Key": item}}
                for item in [{"id": {"S": str(n)}, "at": {"N": "1"}} for n in range(101)]
            ]
        },
    ),
    Wrong(
        "transaction: one item read twice",
        "transact_get_items",
        {"TransactItems": [{"Get": {"TableName": TABLE, "Key": KEY}}] * 2},
    ),
]
ALL = [*QUERIES, *GETS, *PUTS, *UPDATES, *MANY, *TRANSACTIONS]

STREAM = "s"
"""Stream of the requests `ON_A_STREAM`; it has three shards."""
ON_A_STREAM = [
    Wrong("get_records: no iterator", "get_records", {"ShardIterator": "AAAAnothing"}),
    Wrong("get_records: limit", "get_records", {"ShardIterator": "x", "Limit": 10001}),
    Wrong(
        "get_shard_iterator: stream",
        "get_shard_iterator",
        {"StreamName": "nowhere", "ShardId": "shardId-000000000000", "ShardIteratorType": "LATEST"},
    ),
    Wrong(
        "get_shard_iterator: shard",
        "get_shard_iterator",
        {"StreamName": "s", "ShardId": "shardId-000000000099", "ShardIteratorType": "LATEST"},
    ),
    Wrong(
        "get_shard_iterator: shard name",
        "get_shard_iterator",
        {"StreamName": "s", "ShardId": "nothing", "ShardIteratorType": "LATEST"},
    ),
    Wrong(
        "get_shard_iterator: type",
        "get_shard_iterator",
        {"StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "MIDDLE"},
    ),
    Wrong(
        "get_shard_iterator: no sequence",
        "get_shard_iterator",
        {
            "StreamName": "s",
            "ShardId": "shardId-000000000000",
            "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
        },
    ),
    Wrong(
        "get_shard_iterator: bad sequence",
        "get_shard_iterator",
        {
            "StreamName": "s",
            "ShardId": "shardId-000000000000",
            "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
            "StartingSequenceNumber": "abc",
        },
    ),
    Wrong(
        "get_shard_iterator: other shard's sequence",
        "get_shard_iterator",
        {
            "StreamName": "s",
            "ShardId": "shardId-000000000000",
            "ShardIteratorType": "AT_SEQUENCE_NUMBER",
            "StartingSequenceNumber": "5",
        },
    ),
    Wrong(
        "get_shard_iterator: no timestamp",
        "get_shard_iterator",
        {"StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "AT_TIMESTAMP"},
    ),
    Wrong(
        "put_record: stream",
        "put_record",
        {"StreamName": "nowhere", "Data": b"x", "PartitionKey": "k"},
    ),
    Wrong(
        "put_record: long key",
        "put_record",
        {"StreamName": "s", "Data": b"x", "PartitionKey": "k" * 257},
    ),
    Wrong(
        "put_record: empty key", "put_record", {"StreamName": "s", "Data": b"x", "PartitionKey": ""}
    ),
    Wrong(
        "put_record: too large",
        "put_record",
        {"StreamName": "s", "Data": b"x" * 1_048_577, "PartitionKey": "k"},
    ),
    Wrong(
        "put_record: hash key",
        "put_record",
        {"StreamName": "s", "Data": b"x", "PartitionKey": "k", "ExplicitHashKey": str(2**128)},
    ),
    Wrong(
        "put_record: hash key text",
        "put_record",
        {"StreamName": "s", "Data": b"x", "PartitionKey": "k", "ExplicitHashKey": "abc"},
    ),
    Wrong("put_records: none", "put_records", {"StreamName": "s", "Records": []}),
    Wrong(
        "put_records: 501",
        "put_records",
        {"StreamName": "s", "Records": [{"Data": b"x", "PartitionKey": "k"}] * 501},
    ),
    Wrong("list_shards: stream", "list_shards", {"StreamName": "nowhere"}),
    Wrong("describe_stream: stream", "describe_stream", {"StreamName": "nowhere"}),
    Wrong("describe_stream_summary: stream", "describe_stream_summary", {"StreamName": "nowhere"}),
    Wrong("create_stream: exists", "create_stream", {"StreamName": "s", "ShardCount": 1}),
    Wrong("create_stream: no shards", "create_stream", {"StreamName": "t", "ShardCount": 0}),
    Wrong("create_stream: name", "create_stream", {"StreamName": "t t", "ShardCount": 1}),
    Wrong(
        "split_shard: key",
        "split_shard",
        {"StreamName": "s", "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": "0"},
    ),
    Wrong(
        "split_shard: shard",
        "split_shard",
        {"StreamName": "s", "ShardToSplit": "shardId-000000000099", "NewStartingHashKey": "10"},
    ),
    Wrong(
        "merge_shards: not adjacent",
        "merge_shards",
        {
            "StreamName": "s",
            "ShardToMerge": "shardId-000000000000",
            "AdjacentShardToMerge": "shardId-000000000002",
        },
    ),
    Wrong("delete_stream: stream", "delete_stream", {"StreamName": "nowhere"}),
]
"""Wrong requests to Kinesis."""

QUEUE = "wrong"
"""Queue of the requests of `on_a_queue`."""


def on_a_queue(url: str) -> list[Wrong]:
    """Requests that SQS refuses, to the queue with this URL and a missing one.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html
    """

    def wrong(name: str, operation: str, queue: str | None = url, **parameters: Any) -> Wrong:
        asked = parameters if queue is None else {"QueueUrl": queue} | parameters
        return Wrong(f"{operation}: {name}", operation, asked)

    def batch(*ids: str, size: int = 1) -> list[dict[str, Any]]:
        return [{"Id": one, "MessageBody": "x" * size} for one in ids]

    missing = url + "-missing"
    return [
        wrong("queue", "send_message", missing, MessageBody="x"),
        wrong("queue", "receive_message", missing),
        wrong("queue", "delete_message", missing, ReceiptHandle="x"),
        wrong("queue", "get_queue_attributes", missing, AttributeNames=["All"]),
        wrong("queue", "get_queue_url", None, QueueName=QUEUE + "-missing"),
        wrong("no queue", "send_message", None, MessageBody="x"),
        wrong("no queue", "receive_message", None),
        wrong("no body", "send_message"),
        wrong("empty body", "send_message", MessageBody=""),
        wrong("too large", "send_message", MessageBody="x" * (1 << 20) + "x"),
        wrong("control character", "send_message", MessageBody="a\x00b"),
        wrong("delay", "send_message", MessageBody="x", DelaySeconds=901),
        wrong("negative delay", "send_message", MessageBody="x", DelaySeconds=-1),
        wrong("number for a body", "send_message", MessageBody=7),
        wrong("eleven messages", "receive_message", MaxNumberOfMessages=11),
        wrong("no messages", "receive_message", MaxNumberOfMessages=0),
        wrong("long wait", "receive_message", WaitTimeSeconds=21),
        wrong("no receipt", "delete_message"),
        wrong("bad receipt", "delete_message", ReceiptHandle="nothing"),
        wrong("bad receipt", "change_message_visibility", ReceiptHandle="x", VisibilityTimeout=1),
        wrong("timeout", "change_message_visibility", ReceiptHandle="x", VisibilityTimeout=43201),
        wrong("attribute", "get_queue_attributes", AttributeNames=["Nothing"]),
        wrong("empty batch", "send_message_batch", Entries=[]),
        wrong("eleven in a batch", "send_message_batch", Entries=batch(*map(str, range(11)))),
        wrong("one id twice", "send_message_batch", Entries=batch("a", "a")),
        wrong("id", "send_message_batch", Entries=batch("a b")),
        wrong("large batch", "send_message_batch", Entries=batch(*"abc", size=400_000)),
        wrong("value", "set_queue_attributes", Attributes={"VisibilityTimeout": "43201"}),
        wrong("name", "create_queue", None, QueueName="a b"),
    ]


FAMILY = "wrong"
"""Task definition of `on_a_cluster`, with one container `main`, of 64 MiB."""
MAIN = {"name": "main", "image": "image", "memory": 64}
NOBODY = "0" * 32
CONTAINERS = {"containerDefinitions": [MAIN]}


def _ecs(name: str, operation: str, /, **parameters: Any) -> Wrong:
    return Wrong(f"{operation}: {name}", operation, parameters)


def _run(name: str, /, **parameters: Any) -> Wrong:
    return _ecs(name, "run_task", **{"taskDefinition": FAMILY} | parameters)


def _register(name: str, /, **container: Any) -> Wrong:
    return _ecs(
        name, "register_task_definition", family=FAMILY, containerDefinitions=[MAIN | container]
    )


def on_a_cluster(cluster: str) -> list[Wrong]:
    """Requests that ECS refuses, to this cluster where they name no other.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Operations.html
    """
    of_all = {"cluster": cluster}
    return [
        *_OF_DEFINITIONS,
        *(one._replace(parameters=of_all | one.parameters) for one in _OF_TASKS),
    ]


_OF_TASKS = [
    _run("no definition", taskDefinition=None),
    _run("definition", taskDefinition="missing"),
    _run("revision", taskDefinition=f"{FAMILY}:99"),
    _run("cluster", cluster="missing"),
    _run("count", count=11),
    _run("no count", count=0),
    _run("count as text", count="1"),
    _run("launch type", launchType="TOASTER"),
    _run("long started by", startedBy="x" * 129),
    _run("container", overrides={"containerOverrides": [{"name": "other", "command": ["x"]}]}),
    _run("long overrides", overrides={"containerOverrides": [{"name": "m" * 9000}]}),
    _run("constraint", placementConstraints=[{"type": "sometimes"}]),
    _run("strategy", placementStrategy=[{"type": "sometimes"}]),
    _run("network", networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"]}}),
    _run("no Fargate", launchType="FARGATE"),
    _run("provider", capacityProviderStrategy=[{"capacityProvider": "missing"}]),
    _run(
        "type and provider", launchType="EC2", capacityProviderStrategy=[{"capacityProvider": "x"}]
    ),
    _run("51 tags", tags=[{"key": str(n), "value": "x"} for n in range(51)]),
    _run("tag of AWS", tags=[{"key": "aws:x", "value": "x"}]),
    _ecs("task", "stop_task", task=NOBODY),
    _ecs(
        "no task",
        "stop_task",
    ),
    _ecs("cluster", "stop_task", cluster="missing", task=NOBODY),
    _ecs("no tasks", "describe_tasks", tasks=[]),
    _ecs("101 tasks", "describe_tasks", tasks=[NOBODY] * 101),
    _ecs("cluster", "describe_tasks", cluster="missing", tasks=[NOBODY]),
    _ecs("cluster", "list_tasks", cluster="missing"),
    _ecs("status", "list_tasks", desiredStatus="SLEEPING"),
    _ecs("two filters", "list_tasks", startedBy="x", family="y"),
    _ecs("101 results", "list_tasks", maxResults=101),
]
_OF_DEFINITIONS = [
    _ecs("definition", "describe_task_definition", taskDefinition="missing"),
    _ecs("no revision", "deregister_task_definition", taskDefinition=FAMILY),
    _ecs("definition", "deregister_task_definition", taskDefinition="missing:1"),
    _ecs("no containers", "register_task_definition", family=FAMILY, containerDefinitions=[]),
    _ecs("family", "register_task_definition", family="a b", **CONTAINERS),
    _register("no image", image=None),
    _register("no memory", memory=None),
    _register("little memory", memory=1),
    _register("name", name="a b"),
    _register("port", portMappings=[{"containerPort": 70000}]),
    _register("protocol", portMappings=[{"containerPort": 80, "protocol": "pigeon"}]),
    _register("long stop", stopTimeout="x"),
]
