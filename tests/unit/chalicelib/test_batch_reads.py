"""BatchGetItem that leaves keys unprocessed: the rest is requested later, within bounds."""

import pytest

from chalicelib.dynamodb.table import GET_ATTEMPTS, Table
from chalicelib.errors import UnavailableError
from chalicelib.jobs.items import to_item
from chalicelib.jobs.table import InvocationsTable
from tests.unit.chalicelib.jobs.examples import waiting


class Throttled:
    """Answers so many of the keys of each request, by turns."""

    def __init__(self, *served: int) -> None:
        self._served = iter(served)
        self.asked: list[int] = []

    def batch_get_item(self, RequestItems):  # noqa: N803 - as boto3 calls it
        keys = RequestItems["jobs"]["Keys"]
        self.asked.append(len(keys))
        served = next(self._served, 0)
        left = {"jobs": RequestItems["jobs"] | {"Keys": keys[served:]}} if keys[served:] else {}
        return {"Responses": {"jobs": keys[:served]}, "UnprocessedKeys": left}


def test_the_rest_is_read_after_pauses():
    pauses: list[float] = []
    dynamodb = Throttled(4, 0, 0, 6)
    found = Table(dynamodb, "jobs", pauses.append).get_all([str(n) for n in range(10)])
    assert len(found) == 10
    assert dynamodb.asked == [10, 6, 6, 6]
    assert len(pauses) == 3


def test_it_gives_up_where_nothing_is_answered():
    dynamodb = Throttled()
    with pytest.raises(UnavailableError):
        Table(dynamodb, "jobs", lambda _: None).get_all(["1"])
    assert len(dynamodb.asked) == GET_ATTEMPTS


def test_the_sweep_reads_invocations_batch_by_batch_without_what_may_be_large():
    """400 with parameters of 49 KB took 558 MiB."""
    asked = []

    class DynamoDb:
        def query(self, *, Limit, **_):  # noqa: N803 - as boto3 names it
            return {"Items": [to_item(waiting(n)) for n in range(Limit)]}

        def batch_get_item(self, *, RequestItems):  # noqa: N803 - as boto3 names it
            (request,) = RequestItems.values()
            asked.append(request)
            names = request["ExpressionAttributeNames"]
            wanted = {names[part] for part in request["ProjectionExpression"].split(", ")}
            whole = [to_item(waiting(int(key["id"]["S"][:8], 16))) for key in request["Keys"]]
            items = [{name: i[name] for name in i if name in wanted} for i in whole]
            return {"Responses": {"jobs": items}}

    live, after = InvocationsTable(DynamoDb(), "jobs").live(0, None, 250)
    assert after is None
    assert [record.id for record in live] == [waiting(n).id for n in range(250)]
    assert [len(request["Keys"]) for request in asked] == [100, 100, 50]
    for request in asked:
        assert not {"parameters", "result"} & set(request["ExpressionAttributeNames"].values())
