"""The shortcuts through moto's DynamoDB against unmodified moto: the same requests to both."""

import gc
import itertools
import json
import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto.core import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends

from local.aws.dynamodb.tables import NOTES_KEPT
from local.aws.moto.calls import Moto
from tests.integration.plain_moto import answer_of

PROJECT = [sys.executable, "-m", "tests.integration.plain_moto"]


class Both:
    """Calls both implementations and asserts that their answers are equal."""

    def __init__(self, plain):
        self._plain = plain
        self._quick = Moto(0)
        self._names = itertools.count()

    def tables(self):
        """Names of two new tables, without and with a range key."""
        number = next(self._names)
        made = []
        for kind, schema in (("flat", ["id"]), ("deep", ["id", "at"])):
            made.append(f"{kind}-{number}")
            self.ask("CreateTable", **TABLE, TableName=made[-1], KeySchema=keys(*schema))
        return made

    def ask(self, action, **parameters):
        self._plain.stdin.write(json.dumps([action, parameters]) + "\n")
        self._plain.stdin.flush()
        expected = json.loads(self._plain.stdout.readline())
        got = answer_of(self._quick, action, parameters)
        if action not in {"CreateTable", "DeleteTable"}:
            assert got == expected, (action, parameters)
        return got


def keys(*names):
    return [
        {"AttributeName": name, "KeyType": kind}
        for name, kind in zip(names, ("HASH", "RANGE"), strict=False)
    ]


def index(name, *names, projection="ALL"):
    return {
        "IndexName": name,
        "KeySchema": keys(*names),
        "Projection": {"ProjectionType": projection},
    }


TABLE = {
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [
        {"AttributeName": name, "AttributeType": kind}
        for name, kind in (("id", "S"), ("at", "N"), ("pool", "S"), ("rank", "N"), ("bucket", "N"))
    ],
    "GlobalSecondaryIndexes": [
        index("ranked", "pool", "rank"),
        index("pooled", "pool", projection="KEYS_ONLY"),
        index("buckets", "bucket", "at"),
    ],
}


@pytest.fixture(scope="module")
def both():
    with subprocess.Popen(
        PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as plain:
        yield Both(plain)
        plain.stdin.close()
        plain.wait(30)


TEXTS = st.sampled_from(["a", "b", "c", "d", "ä"])
NUMBERS = st.sampled_from(["0", "1", "2", "2.0", "-1", "10"])
S, N = st.fixed_dictionaries({"S": TEXTS}), st.fixed_dictionaries({"N": NUMBERS})
ANY = st.one_of(
    S,
    N,
    st.sampled_from(
        [
            {"BOOL": False},
            {"NULL": True},
            {"B": "AAEC"},
            {"SS": ["x", "y"]},
            {"NS": ["1", "2"]},
            {"BS": ["AAEC"]},
            {"L": [{"N": "1"}, {"M": {"k": {"S": "v"}}}, {"SS": ["x"]}]},
            {"M": {"inner": {"L": []}, "b": {"B": "AAEC"}}},
        ]
    ),
)
ITEM_REST = st.fixed_dictionaries(
    {}, optional={"pool": S, "rank": N, "bucket": N, "n": N, "more": ANY, "tags": ANY}
)
CONDITIONS = st.sampled_from(
    [
        {},
        {"ConditionExpression": "attribute_not_exists(id)"},
        {"ConditionExpression": "attribute_exists(id)"},
        {
            "ConditionExpression": "attribute_not_exists(n) OR n < :maximum",
            "ExpressionAttributeValues": {":maximum": {"N": "3"}},
        },
        {
            "ConditionExpression": "#more = :more AND NOT begins_with(#pool, :more)",
            "ExpressionAttributeNames": {"#more": "more", "#pool": "pool"},
            "ExpressionAttributeValues": {":more": {"S": "a"}},
        },
    ]
)
UPDATES = st.sampled_from(
    [
        ("ADD n :by", {":by": {"N": "2"}}),
        ("ADD n :by SET #pool = :pool", {":by": {"N": "-1"}, ":pool": {"S": "b"}}),
        ("SET bucket = :by REMOVE #pool", {":by": {"N": "2"}}),
        ("SET more = if_not_exists(more, :by), #r = :by", {":by": {"N": "1"}}),
        ("ADD tags :set", {":set": {"SS": ["y", "z"]}}),
        ("DELETE tags :set", {":set": {"SS": ["x"]}}),
        ("SET more.inner = :by", {":by": {"S": "deep"}}),
        ("SET tags = list_append(tags, :list)", {":list": {"L": [{"S": "last"}]}}),
    ]
)


NAMES = {"#r": "rank", "#pool": "pool"}  # the latter is a reserved word


@st.composite
def primary_keys(draw, table):
    flat = {"id": draw(S)}
    return flat if table == 0 else flat | {"at": draw(N)}


@st.composite
def writes(draw, in_transaction):
    table = draw(st.integers(0, 1))
    condition = draw(CONDITIONS)
    if in_transaction and draw(st.booleans()):
        condition = condition | {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    kind = draw(st.sampled_from(["Put", "Put", "Update", "Delete", "ConditionCheck"]))
    key = draw(primary_keys(table))
    if kind == "Put":
        return table, kind, condition | {"Item": draw(ITEM_REST) | key}
    if kind == "Delete" or (kind == "ConditionCheck" and not in_transaction):
        return table, "Delete", condition | {"Key": key}
    if kind == "ConditionCheck":
        check = (
            condition
            if "ConditionExpression" in condition
            else {"ConditionExpression": "attribute_exists(id)"}
        )
        return table, kind, check | {"Key": key}
    expression, values = draw(UPDATES)
    names = {word: name for word, name in NAMES.items() if word in expression}
    update = {
        "Key": key,
        "UpdateExpression": expression,
        **condition,
        "ExpressionAttributeValues": values | condition.get("ExpressionAttributeValues", {}),
    }
    names |= condition.get("ExpressionAttributeNames", {})
    return table, kind, update | ({"ExpressionAttributeNames": names} if names else {})


TRANSACTIONS = st.tuples(
    st.just("transaction"), st.lists(writes(True), min_size=1, max_size=4), st.integers(0, 9)
)
QUERIES = st.tuples(
    st.just("query"),
    st.fixed_dictionaries(
        {
            "table": st.integers(0, 1),
            "by": st.sampled_from(["id", "ranked", "pooled", "buckets"]),
            "value": TEXTS,
            "number": NUMBERS,
            "forward": st.booleans(),
            "limit": st.sampled_from([None, 1, 2, 60]),
            "range": st.sampled_from([None, "<", ">="]),
            "filter": st.booleans(),
        }
    ),
)
SINGLE = st.tuples(st.just("write"), writes(False))
PROJECTIONS = st.sampled_from(
    [None, "id", "n, missing", "#more, tags, n", "tags[1], n", "more.inner", "more.b, #more.inner"]
)
READS = st.tuples(st.just("read"), st.integers(0, 1), S, N, PROJECTIONS)
STEPS = st.lists(st.one_of(SINGLE, SINGLE, TRANSACTIONS, QUERIES, QUERIES, READS), max_size=25)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_any_requests_get_the_same_answers(both, steps):
    tables = both.tables()
    for table, by in itertools.product((0, 1), INDEX_KEYS):  # from now on writes are noted
        query(both, tables, PLAIN_QUERY | {"table": table, "by": by})
    for step in steps:
        CARRY_OUT[step[0]](both, tables, *step[1:])
    for table in tables:
        both.ask("Scan", TableName=table)
        both.ask("DeleteTable", TableName=table)


PLAIN_QUERY = {
    "value": "a",
    "number": "1",
    "forward": True,
    "limit": None,
    "range": None,
    "filter": False,
}


def write(both, tables, what):
    table, kind, parameters = what
    both.ask(f"{kind}Item", TableName=tables[table], **parameters)


def transaction(both, tables, actions, token):
    items = [{kind: parameters | {"TableName": tables[t]}} for t, kind, parameters in actions]
    both.ask("TransactWriteItems", TransactItems=items)


def query(both, tables, asked):
    hash_name, range_name = INDEX_KEYS[asked["by"]]
    if asked["by"] == "id" and asked["table"] == 1:
        range_name = "at"
    number = {"N": asked["number"]}
    value = number if hash_name == "bucket" else {"S": asked["value"]}
    condition, values = f"{hash_name} = :value", {":value": value}
    if asked["range"] and range_name:
        condition += f" AND #range {asked['range']} :range"
        values[":range"] = number
    parameters = {
        "TableName": tables[asked["table"]],
        "KeyConditionExpression": condition,
        "ExpressionAttributeValues": values,
        "ScanIndexForward": asked["forward"],
    }
    if ":range" in values:
        parameters["ExpressionAttributeNames"] = {"#range": range_name}
    if asked["limit"]:
        parameters["Limit"] = asked["limit"]
    if asked["by"] != "id":
        parameters["IndexName"] = asked["by"]
    if asked["filter"]:
        parameters["FilterExpression"] = "attribute_exists(n)"
    for _ in range(30):
        status, body = both.ask("Query", **parameters)
        if status != 200 or "LastEvaluatedKey" not in body:
            return
        parameters["ExclusiveStartKey"] = body["LastEvaluatedKey"]


INDEX_KEYS = {
    "id": ("id", None),
    "ranked": ("pool", "rank"),
    "pooled": ("pool", None),
    "buckets": ("bucket", "at"),
}


def read(both, tables, table, key, at, projection):
    full = {"id": key} if table == 0 else {"id": key, "at": at}
    asked = {} if projection is None else {"ProjectionExpression": projection}
    if "#more" in asked.get("ProjectionExpression", ""):
        asked["ExpressionAttributeNames"] = {"#more": "more"}
    both.ask("GetItem", TableName=tables[table], Key=full, **asked)
    both.ask("BatchGetItem", RequestItems={tables[table]: {"Keys": [full], **asked}})


CARRY_OUT = {"write": write, "transaction": transaction, "query": query, "read": read}


def test_a_failed_transaction_changes_nothing_and_says_which_conditions_failed(both):
    flat, deep = both.tables()
    both.ask("PutItem", TableName=flat, Item={"id": {"S": "a"}, "n": {"N": "3"}})
    status, body = both.ask(
        "TransactWriteItems",
        TransactItems=[
            {"Put": {"TableName": deep, "Item": {"id": {"S": "x"}, "at": {"N": "1"}}}},
            {
                "Update": {
                    "TableName": flat,
                    "Key": {"id": {"S": "a"}},
                    "UpdateExpression": "ADD n :one",
                    "ConditionExpression": "n < :three",
                    "ExpressionAttributeValues": {":one": {"N": "1"}, ":three": {"N": "3"}},
                }
            },
        ],
    )
    assert status == 400
    assert [r["Code"] for r in body["CancellationReasons"]] == ["None", "ConditionalCheckFailed"]
    assert both.ask("Scan", TableName=deep)[1]["Count"] == 0


def test_an_item_too_large_is_refused_in_and_outside_of_a_transaction(both):
    flat, _ = both.tables()
    item = {"id": {"S": "a"}, "more": {"S": "x" * 409_600}}
    assert both.ask("PutItem", TableName=flat, Item=item)[0] == 400
    put = {"Put": {"TableName": flat, "Item": item}}
    assert both.ask("TransactWriteItems", TransactItems=[put])[0] == 400
    assert both.ask("Scan", TableName=flat)[1]["Count"] == 0


def test_the_same_item_twice_in_a_transaction_is_refused_as_a_whole(both):
    flat, _ = both.tables()
    put = {"Put": {"TableName": flat, "Item": {"id": {"S": "a"}}}}
    assert both.ask("TransactWriteItems", TransactItems=[put, put])[0] == 400
    assert both.ask("Scan", TableName=flat)[1]["Count"] == 0


def test_a_table_that_is_not_there_is_one_of_the_reasons(both):
    flat, _ = both.tables()
    put = {"Put": {"TableName": flat, "Item": {"id": {"S": "a"}}}}
    check = {
        "ConditionCheck": {
            "TableName": "nowhere",
            "Key": {"id": {"S": "a"}},
            "ConditionExpression": "attribute_exists(id)",
        }
    }
    assert both.ask("TransactWriteItems", TransactItems=[put, check])[0] == 400
    assert both.ask("Scan", TableName=flat)[1]["Count"] == 0


def test_an_update_moves_an_item_in_an_index_that_was_asked_before(both):
    flat, _ = both.tables()
    tables = [flat, flat]
    moved = PLAIN_QUERY | {"table": 0, "by": "ranked", "value": "b"}
    query(both, tables, moved)
    item = {"id": {"S": "x"}, "pool": {"S": "a"}, "rank": {"N": "1"}}
    both.ask("PutItem", TableName=flat, Item=item)
    both.ask(
        "UpdateItem",
        TableName=flat,
        Key={"id": {"S": "x"}},
        UpdateExpression="SET #pool = :b",
        ExpressionAttributeNames={"#pool": "pool"},
        ExpressionAttributeValues={":b": {"S": "b"}},
    )
    query(both, tables, moved)
    query(both, tables, moved | {"value": "a"})


def test_what_finds_items_by_their_indexes_does_not_grow_with_the_items_that_were(both):
    flat, _ = both.tables()
    pools = {"ExpressionAttributeNames": {"#p": "pool"}, "KeyConditionExpression": "#p = :p"}

    def found(pool):
        values = {":p": {"S": pool}}
        asked = {**pools, "TableName": flat, "IndexName": "ranked"}
        return both.ask("Query", **asked, ExpressionAttributeValues=values)[1]["Count"]

    assert found("p0") == 0
    item = {"pool": {"S": "kept"}, "rank": {"N": "1"}}
    both.ask("PutItem", TableName=flat, Item={"id": {"S": "kept"}, **item})
    for n in range(2 * NOTES_KEPT):
        key = {"id": {"S": str(n)}}
        item = {**key, "pool": {"S": f"p{n}"}, "rank": {"N": "1"}}
        both.ask("PutItem", TableName=flat, Item=item)
        both.ask("DeleteItem", TableName=flat, Key=key)
    table = dynamodb_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].tables[flat]
    assert sum(len(keys) for values in table._noted.values() for keys in values.values()) <= (
        NOTES_KEPT
    )
    assert [found("p1"), found("kept")] == [0, 1]


def test_what_a_failed_transaction_had_updated_is_as_before(both):
    flat, _ = both.tables()
    both.ask("PutItem", TableName=flat, Item={"id": {"S": "a"}, "tags": {"SS": ["x"]}})
    update = {
        "TableName": flat,
        "Key": {"id": {"S": "a"}},
        "UpdateExpression": "ADD tags :set, n :one",
        "ExpressionAttributeValues": {":set": {"SS": ["y"]}, ":one": {"N": "1"}},
    }
    check = {
        "TableName": flat,
        "Key": {"id": {"S": "b"}},
        "ConditionExpression": "attribute_exists(id)",
    }
    actions = [{"Update": update}, {"ConditionCheck": check}]
    assert both.ask("TransactWriteItems", TransactItems=actions)[0] == 400
    _, body = both.ask("Scan", TableName=flat)
    assert body["Items"] == [{"id": {"S": "a"}, "tags": {"SS": ["x"]}}]


def test_an_item_is_kept_in_a_few_kilobytes():
    """A record of a session that ended has some twenty short values and ten lines of history."""
    quick, count = Moto(0), 80
    answer_of(quick, "CreateTable", {**TABLE, "TableName": "small", "KeySchema": keys("id")})

    def write(number):
        values = {f"a{n}": {"S": f"arn:aws:ecs:us-east-1:123456789012:{n}"} for n in range(18)}
        line = [{"N": f"1700000000.{number:06}"}, {"S": "STARTING"}, {"S": "RunTask accepted"}]
        own = {"id": {"S": f"{number:036}"}, "history": {"L": [{"L": line}] * 10}}
        answer_of(quick, "PutItem", {"TableName": "small", "Item": values | own})

    for number in range(count):
        write(number)
    tracemalloc.start()
    try:
        for number in range(count, 2 * count):
            write(number)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept / count < 6_000
