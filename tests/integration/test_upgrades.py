"""Deploys, rollbacks, broken revisions and removed hosts, with 50 live sessions."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from socket import create_connection, socket
from typing import Any

import pytest
from websockets.sync.client import ClientConnection

from chalicelib.sessions.items import from_item
from chalicelib.sessions.model import Session, State
from tests.integration.conftest import RunningCloud, finish, launch, wait_until
from tests.integration.light import IMAGE, MEMORY_MIB, make_light_image
from tests.integration.sessions import client_of, dispatch, wait_for

LIGHT, WITH_RECORDS, WARM = 47, 3, 4
APPS = f"""
default = "light"

[apps.light]
image = "{IMAGE}"
cpu = 8
memory = {MEMORY_MIB}
connect_deadline_seconds = 600
pool = {{minimum = {WARM}, maximum = {WARM}}}

[apps.light.placement]
spread = ["instanceId"]

[apps.listings]
image = "usher-session"
cpu = 8
"""
HOSTS = 3
PACE_SECONDS = 0.4
"""Seconds between two checks of a condition that is checked during a whole sweep."""


@dataclass
class Light:
    """A client of a light container, and its received messages."""

    session: dict[str, Any]
    connection: socket
    ticks: int = 0
    over: bool = False

    def listen(self) -> None:
        """Count received records until no more arrive."""
        while received := self._received():
            self.ticks += received.count(b"tick")
        self.over = True

    def _received(self) -> bytes:
        try:
            return self.connection.recv(4096)
        except OSError:
            return b""


class Audience:
    """50 clients: most of containers that tick, some of containers that stream records."""

    def __init__(self, cloud: RunningCloud, stack: ExitStack) -> None:
        self._cloud = cloud
        self._stack = stack
        self.light: list[Light] = []
        self.streaming: list[ClientConnection] = []

    def joins(self, session: dict[str, Any]) -> Light:
        connection = create_connection((session["ip"], session["port"]), 20)
        self._stack.enter_context(closing(connection))
        connection.settimeout(None)
        client = Light(session, connection)
        threading.Thread(target=client.listen, daemon=True).start()
        self.light.append(client)
        return client

    def joins_the_stream(self, session: dict[str, Any]) -> None:
        websocket, _ = self._stack.enter_context(client_of(session))
        self.streaming.append(websocket)

    def leaves(self, client: Light) -> None:
        self.light.remove(client)
        client.connection.shutdown(2)

    def all_receive(self) -> None:
        """Wait until each client has received a record that was put after this call."""
        before = [client.ticks for client in self.light]
        marker = f"marker-{threading.get_native_id()}-{sum(before)}"
        self._cloud.client("kinesis").put_record(
            StreamName=self._cloud.stream, Data=json.dumps(marker).encode(), PartitionKey="p"
        )

        def all_received() -> bool:
            assert not [client for client in self.light if client.over], "a live session was lost"
            return all(c.ticks > n for c, n in zip(self.light, before, strict=True))

        wait_until(all_received, 30, "a tick for everybody")
        for websocket in self.streaming:
            while marker not in str(websocket.recv(timeout=30)):
                pass


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    folder = tmp_path_factory.mktemp("upgrades")
    apps = folder / "apps.toml"
    apps.write_text(APPS, encoding="utf-8")
    image = make_light_image(folder / "light")
    running = launch(folder, apps=apps, image=image, hosts=HOSTS, host_memory=32_768)
    yield running
    finish(running)


@pytest.fixture(scope="module")
def audience(cloud: RunningCloud) -> Iterator[Audience]:
    with ExitStack() as stack:
        made = Audience(cloud, stack)
        with ThreadPoolExecutor(8) as clients:
            light = list(clients.map(lambda _: dispatch(cloud, "?wait=25"), range(LIGHT)))
        for session in light:
            made.joins(session)
        for _ in range(WITH_RECORDS):
            made.joins_the_stream(dispatch(cloud, "?app=listings&wait=25"))
        wait_until(lambda: len(of_state(cloud, State.ACTIVE)) == LIGHT + WITH_RECORDS, 60)
        wait_for_pool(cloud, 1)
        made.all_receive()
        yield made


def sessions(cloud: RunningCloud) -> list[Session]:
    pages = (
        cloud.client("dynamodb").get_paginator("scan").paginate(TableName="usher-local-sessions")
    )
    return [from_item(i) for page in pages for i in page["Items"] if "uuid" in i]


def of_state(cloud: RunningCloud, state: State) -> list[Session]:
    return [session for session in sessions(cloud) if session.state is state]


def pool_is(cloud: RunningCloud, revision: int) -> bool:
    """Let it be tended; whether all that is warm is of this revision, and as much as there should
    be.
    """
    cloud.fire("sweep")
    return Counter(s.revision for s in of_state(cloud, State.WARM)) == {revision: WARM}


def wait_for_pool(cloud: RunningCloud, revision: int) -> None:
    wait_until(lambda: pool_is(cloud, revision), 60, "a full pool", every=PACE_SECONDS)


def none_but(cloud: RunningCloud, revision: int) -> bool:
    """Let it be tended; whether something is warm, and all of it of this revision."""
    cloud.fire("sweep")
    return {s.revision for s in of_state(cloud, State.WARM)} == {revision}


def deploy(cloud: RunningCloud, app: str = "light", **changes: Any) -> str:
    """Register the next revision, which differs in its container only; its ARN."""
    ecs = cloud.client("ecs")
    now = ecs.describe_task_definition(taskDefinition=f"usher-local-{app}")["taskDefinition"]
    (container,) = now["containerDefinitions"]
    kept = ("family", "networkMode", "requiresCompatibilities", "taskRoleArn")
    answer = ecs.register_task_definition(
        **{name: now[name] for name in kept if name in now},
        containerDefinitions=[container | changes],
    )
    return answer["taskDefinition"]["taskDefinitionArn"]


def newcomers(
    cloud: RunningCloud, audience: Audience, until: Callable[[], bool], what: str
) -> list[int]:
    """Clients that connect one after the other until then, and the revisions they got."""
    revisions = []

    def one_more() -> bool:
        status, body = cloud.http("GET", "/session?wait=25")
        assert status == 200, body
        revisions.append(body["revision"])
        client = audience.joins(body)
        wait_until(lambda: client.ticks, 30, "a tick")
        audience.leaves(client)
        return until()

    wait_until(one_more, 90, what, every=PACE_SECONDS)
    return revisions


def test_a_deploy_reaches_every_new_session_and_no_live_one(
    cloud: RunningCloud, audience: Audience
) -> None:
    deploy(cloud, environment=[{"name": "DEPLOY", "value": "2"}])
    deploy(cloud, "listings", environment=[{"name": "DEPLOY", "value": "2"}])
    seen = newcomers(cloud, audience, lambda: none_but(cloud, 2), "nothing warm of the old one")
    wait_for_pool(cloud, 2)
    assert seen == sorted(seen), "once the new revision is proven there is no way back"
    assert dispatch_and_leave(cloud, audience) == 2
    assert Counter(s.revision for s in of_state(cloud, State.ACTIVE))[1] == LIGHT + WITH_RECORDS
    audience.all_receive()
    print(f"deploy: revisions of newcomers {seen}")


def dispatch_and_leave(cloud: RunningCloud, audience: Audience) -> int:
    session = dispatch(cloud, "?wait=25")
    client = audience.joins(session)
    wait_for(cloud, session["id"], "ACTIVE")
    audience.leaves(client)
    return int(session["revision"])


def test_a_rollback_goes_the_same_way(cloud: RunningCloud, audience: Audience) -> None:
    of_the_second = audience.joins(dispatch(cloud, "?wait=25"))
    ecs = cloud.client("ecs")
    for app in ("light", "listings"):
        ecs.deregister_task_definition(taskDefinition=f"usher-local-{app}:2")
    taken_back = {s.id for s in of_state(cloud, State.WARM) if s.revision == 2}
    assert taken_back
    wait_for_pool(cloud, 1)
    ended = {s.id: s for s in sessions(cloud)}
    assert {str(ended[one].reason) for one in taken_back} == {"drained"}
    assert dispatch_and_leave(cloud, audience) == 1
    audience.all_receive()
    assert not of_the_second.over
    assert dispatch(cloud, "?app=listings&wait=25")["revision"] == 1


def test_a_broken_revision_trips_its_breaker_and_the_one_before_serves(
    cloud: RunningCloud, audience: Audience
) -> None:
    broken = deploy(cloud, image="nobody-has-this")

    def is_tripped() -> bool:
        cloud.fire("sweep")
        key = {"id": {"S": "app#light"}}
        table = "usher-local-sessions"
        item = cloud.client("dynamodb").get_item(TableName=table, Key=key)["Item"]
        failing = item.get("failing", {"M": {}})["M"].get(broken)
        return failing is not None and int(failing["M"]["count"]["N"]) >= 5

    seen = newcomers(cloud, audience, is_tripped, "the breaker of the broken revision")
    seen.append(dispatch_and_leave(cloud, audience))
    assert set(seen) == {1}
    wait_for_pool(cloud, 1)
    audience.all_receive()
    cloud.client("ecs").deregister_task_definition(taskDefinition=broken)


def test_a_draining_host_keeps_its_clients_and_loses_what_is_warm(
    cloud: RunningCloud, audience: Audience
) -> None:
    wait_for_pool(cloud, 1)
    host = of_state(cloud, State.WARM)[0].container_instance
    ecs = cloud.client("ecs")
    ecs.update_container_instances_state(
        cluster="usher-local", containerInstances=[host], status="DRAINING"
    )
    wait_until(lambda: not warm_on(cloud, host), 15, "nothing warm on a draining host")
    wait_for_pool(cloud, 1)
    assert not warm_on(cloud, host)
    assert [s for s in of_state(cloud, State.ACTIVE) if s.container_instance == host]
    audience.all_receive()


def warm_on(cloud: RunningCloud, host: str | None) -> list[Session]:
    return [s for s in of_state(cloud, State.WARM) if s.container_instance == host]


def test_a_dead_host_takes_its_own_and_nobody_else(cloud: RunningCloud, audience: Audience) -> None:
    dead = of_state(cloud, State.WARM)[0].container_instance
    ecs = cloud.client("ecs")
    (instance,) = ecs.describe_container_instances(
        cluster="usher-local", containerInstances=[dead]
    )["containerInstances"]
    names = {host["ec2InstanceId"]: host["name"] for host in cloud.state()["hosts"]}
    lost = {s.id for s in of_state(cloud, State.ACTIVE) if s.container_instance == dead}
    cloud.control("POST", f"hosts/{names[instance['ec2InstanceId']]}/kill")
    wait_until(lambda: not warm_on(cloud, dead), 15, "nothing warm on a dead host")
    for client in [c for c in audience.light if c.session["id"] in lost]:
        wait_until(lambda c=client: c.over, 15, "the end of its connections")
        audience.light.remove(client)
    wait_for_pool(cloud, 1)
    ended = {s.id: s for s in sessions(cloud)}
    assert {str(ended[one].reason) for one in lost} == {"lost"}
    audience.streaming.clear()
    audience.all_receive()
