"""A local client changes the hosts of `local up --auto-scaling`.

Goal: a group that launches or ends no hosts any more, or hosts that are counted wrongly. Reach: any
method and body of `/_local/auto-scaling` and `/_local/hosts/NAME/interrupt`, also at the same time.
Requests of a foreign page are refused earlier: test_web_page_on_a_laptop.py.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from local.aws.control import Control
from local.aws.faults import Faults
from local.aws.wire import Answer, Request
from tests.unit.local.test_hosts_group import ZONES, World

GARBAGE = [
    b"", b"garbage", b"[]", b"null", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b'"x"',
]  # fmt: skip
VALUES = [
    "-1", "-0.5", "1e999", "-1e999", "NaN", "Infinity", "9" * 400, "9" * 5_000, "true", "null",
    '"5"', "[]", "{}", '"us-east-1a"', '["mars"]', "[1]", "[[]]", "[null]",
    '["us-east-1a", {}]', '{"us-east-1a": 1}',
]  # fmt: skip
NAMES = ("launchSeconds", "launchFailures", "zonesOut")
METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS")
HARMLESS = {("zonesOut", "[]")}


class Attacked:
    """A group of hosts behind its control."""

    def __init__(self) -> None:
        self.world = World()
        hosts = self.world.hosts
        cloud: Any = SimpleNamespace(
            change_auto_scaling=hosts.change, interrupt_host=hosts.interrupt, kill_host=hosts.kill
        )
        self._control = Control(Faults(), cloud)

    def send(self, method: str, path: str, body: bytes = b"") -> Answer:
        request = Request(method, path, {}, body)
        return self._control.answer(request)

    def group(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.send("GET", "/_local/auto-scaling").body)
        return found


@pytest.fixture
def attacked() -> Attacked:
    return Attacked()


def test_garbage_is_refused_and_changes_nothing(attacked: Attacked) -> None:
    before = attacked.group()
    for method in METHODS:
        for path in ("auto-scaling", "hosts/host-9/interrupt", "hosts//interrupt", "hosts"):
            for body in GARBAGE:
                answer = attacked.send(method, f"/_local/{path}", body)
                looks = (method, path) == ("GET", "auto-scaling") or body == b""
                assert answer.status in ({200, 400, 404} if looks else {400, 404})
    assert attacked.group() == before


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:20])
@pytest.mark.parametrize("name", NAMES)
def test_no_value_that_cannot_be_meant_is_taken(attacked: Attacked, name: str, value: str) -> None:
    """Not even the parts of its document that could be."""
    before = attacked.group()
    others = "".join(f', "{one}": 1' for one in NAMES[:2] if one != name)
    answer = attacked.send("PUT", "/_local/auto-scaling", f'{{"{name}": {value}{others}}}'.encode())
    if (name, value) in HARMLESS:
        assert answer.status == 200
    else:
        assert answer.status == 400, answer.body
        assert attacked.group() == before
    world = attacked.world
    world.hosts.kill("host-1")
    world.pass_minutes(5)
    assert len(world.names) == 1, "the host is replaced as ever"


def test_interruptions_and_changes_at_once_leave_the_group_counted(attacked: Attacked) -> None:
    world = attacked.world

    def attack(number: int) -> Answer:
        if number % 3 == 0:
            return attacked.send("POST", "/_local/hosts/host-1/interrupt")
        out = [list(ZONES), [], [ZONES[number % 2]]][number % 3]
        body = json.dumps({"zonesOut": out, "launchSeconds": number % 5}).encode()
        return attacked.send("PUT", "/_local/auto-scaling", body)

    with ThreadPoolExecutor(8) as threads:
        assert {each.status for each in threads.map(attack, range(120))} <= {200, 404}
    assert attacked.send("PUT", "/_local/auto-scaling", b'{"zonesOut": []}').status == 200
    world.pass_minutes(10)
    group = attacked.group()
    assert len(group["instances"]) == group["desired"] == len(world.names)
