"""BatchGetItem that leaves keys unprocessed: the rest is asked for later, within bounds."""

import pytest

from chalicelib.dynamodb.table import GET_ATTEMPTS, Table
from chalicelib.errors import UnavailableError


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
