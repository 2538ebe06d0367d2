"""Refusals of DynamoDB that pass: repeated with pauses, bounded, and never taken for others."""

from dataclasses import dataclass

import pytest
from botocore.exceptions import ClientError

from chalicelib.dynamodb.table import BUSY_TRIES, FAILED, GET_SECONDS, Table
from chalicelib.errors import BusyError, UnavailableError
from chalicelib.tasks.store import Codec, RecordTable

ITEM = {"id": {"S": "a"}, "version": {"N": "1"}}
MORE = {"Put": {"TableName": "t", "Item": {"id": {"S": "audit"}}}}
CONFLICT = ("TransactionConflict", "None")
THROTTLES = [("None", "ThrottlingError"), ("ProvisionedThroughputExceeded", "None")]


def canceled(*reasons, retries=0):
    return ClientError(
        {
            "Error": {"Code": "TransactionCanceledException", "Message": "cancelled"},
            "CancellationReasons": [{"Code": reason} for reason in reasons],
            "ResponseMetadata": {"RetryAttempts": retries},
        },
        "TransactWriteItems",
    )


def refused(code):
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "UpdateItem")


class DynamoDb:
    """Fails with each of these errors in turn, then succeeds."""

    def __init__(self, *errors, item=None):
        self.errors, self.sent, self.item = list(errors), 0, item

    def write(self, **_):
        self.sent += 1
        if self.errors:
            raise self.errors.pop(0)
        return {"Attributes": {"n": {"N": "1"}}}

    transact_write_items = put_item = update_item = delete_item = write

    def get_item(self, **_):
        return {} if self.item is None else {"Item": self.item}


def table(dynamodb, pauses=None):
    return Table(dynamodb, "t", [].append if pauses is None else pauses.append)


@pytest.mark.parametrize("reasons", [*THROTTLES, CONFLICT])
def test_a_write_that_is_cancelled_for_what_passes_is_sent_again(reasons):
    pauses = []
    dynamodb = DynamoDb(canceled(*reasons), canceled(*reasons))
    assert table(dynamodb, pauses).put(ITEM, None, MORE)
    assert (dynamodb.sent, len(pauses)) == (3, 2)


@pytest.mark.parametrize("reasons", [*THROTTLES, CONFLICT])
def test_deleting_what_is_there_never_says_that_it_is_not(reasons):
    dynamodb = DynamoDb(canceled(*reasons))
    assert table(dynamodb).delete("a", MORE)
    assert not table(DynamoDb(canceled(FAILED, "None"))).delete("a", MORE)


@pytest.mark.parametrize("reasons", [*THROTTLES, CONFLICT])
def test_where_that_does_not_end_the_caller_is_told_to_come_back(reasons):
    for write in (lambda t: t.put(ITEM, 1, MORE), lambda t: t.delete("a", MORE)):
        dynamodb = DynamoDb(*[canceled(*reasons)] * BUSY_TRIES)
        with pytest.raises(BusyError) as told:
            write(table(dynamodb))
        assert (told.value.status, dynamodb.sent) == (429, BUSY_TRIES)
        assert told.value.retry_after_seconds


def test_a_lost_condition_is_the_answer_whatever_else_happened():
    refusal = table(DynamoDb(canceled("ThrottlingError", FAILED))).transact([MORE, MORE])
    assert refusal is not None
    assert FAILED in refusal.reasons


def test_who_has_another_candidate_does_not_wait_for_other_transactions():
    dynamodb = DynamoDb(canceled(*CONFLICT))
    refusal = table(dynamodb).transact([MORE, MORE])
    assert refusal is not None
    assert dynamodb.sent == 1


@pytest.mark.parametrize("reason", ["ValidationError", "ItemCollectionSizeLimitExceeded"])
def test_what_no_repetition_changes_is_no_lost_condition(reason):
    dynamodb = DynamoDb(*[canceled(reason, "None")] * 2)
    with pytest.raises(ClientError):
        table(dynamodb).put(ITEM, None, MORE)
    assert dynamodb.sent == 1


def test_a_write_whose_reply_was_lost_before_it_was_throttled_finds_itself():
    """The first sending was carried out; the repetition of the repetition loses to it."""
    dynamodb = DynamoDb(
        canceled("ThrottlingError", "None", retries=1), canceled(FAILED, "None"), item=ITEM
    )
    assert table(dynamodb).put(ITEM, None, MORE)


WRITES = {
    "put": lambda t: t.put(ITEM, None),
    "delete": lambda t: t.delete("a"),
    "update": lambda t: t.set_expiry("a", 1),
    "count": lambda t: t.count("c", 3, 1),
    "number": lambda t: t.update_number({"TableName": "t"}),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_of_one_item_waits_for_a_transaction_that_holds_it(name):
    dynamodb = DynamoDb(*[refused("TransactionConflictException")] * 2)
    assert WRITES[name](table(dynamodb)) is not False
    assert dynamodb.sent == 3
    with pytest.raises(BusyError):
        WRITES[name](table(DynamoDb(*[refused("TransactionConflictException")] * BUSY_TRIES)))


@pytest.mark.parametrize("name", WRITES)
def test_what_botocore_has_repeated_already_is_not_repeated_again(name):
    dynamodb = DynamoDb(*[refused("ProvisionedThroughputExceededException")] * 2)
    with pytest.raises(ClientError):
        WRITES[name](table(dynamodb))
    assert dynamodb.sent == 1


class OneAtATime:
    """Answers one key of each BatchGetItem; each takes a second."""

    def __init__(self):
        self.now = 0.0

    def batch_get_item(self, RequestItems):  # noqa: N803 - as boto3 calls it
        self.now += 1
        keys = RequestItems["t"]["Keys"]
        left = {"t": RequestItems["t"] | {"Keys": keys[1:]}} if keys[1:] else {}
        return {"Responses": {"t": keys[:1]}, "UnprocessedKeys": left}


@pytest.mark.parametrize(("wanted", "is_read"), [(5, True), (100, False), (1_000, False)])
def test_reading_many_has_a_deadline_however_little_each_answer_has(wanted, is_read):
    dynamodb = OneAtATime()
    reader = Table(dynamodb, "t", lambda _: None, lambda: dynamodb.now)
    ids = [str(number) for number in range(wanted)]
    if is_read:
        assert len(reader.get_all(ids)) == wanted
        return
    with pytest.raises(UnavailableError):
        reader.get_all(ids)
    assert dynamodb.now <= GET_SECONDS + 2


@dataclass(frozen=True)
class Counted:
    """A record that holds a counter."""

    id: str = "a"
    version: int = 1
    counters: tuple[str, ...] = ("group#batch#1#16#16",)


def test_a_record_whose_counter_another_transaction_holds_is_written_after_a_pause():
    pauses = []
    dynamodb = DynamoDb(canceled("None", "TransactionConflict"))
    codec = Codec(
        to_item=lambda record: {"id": {"S": record.id}, "version": {"N": str(record.version)}},
        from_item=lambda _: Counted(),
        counters=lambda record: record.counters,
        without=lambda record, _: record,
    )
    records = RecordTable(dynamodb, "t", codec)
    records.items = table(dynamodb, pauses)
    written = records.replace(Counted(), Counted(counters=()))
    assert (written, dynamodb.sent, len(pauses)) == (Counted(version=2, counters=()), 2, 1)
