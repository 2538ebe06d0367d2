"""From a function's cold start to its first warm claim, beside a bare boto3 client that makes the
same two calls: the same query and the same transaction, with the arguments of the dispatcher."""

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_server
from typing import Any

from benchmarks.run import ROOT, Run
from chalicelib.callers import Caller
from chalicelib.clients import Clients
from chalicelib.config import load_config
from chalicelib.sessions.items import APP_STATES, to_item
from chalicelib.sessions.model import Session, State
from chalicelib.sessions.pool import AppState
from chalicelib.sessions.requests import parse_dispatch
from chalicelib.wiring import build
from local.aws.clients import Clients as LocalClients
from local.aws.endpoint import Endpoint, Hosts
from local.aws.faults import Faults
from local.aws.http_server import HttpServer
from local.aws.moto.calls import Moto
from local.aws.provision import ACCOUNT, execute, read_plan
from local.aws.wire import Answer

GROUP = "function"
FLOOR = "floor: a bare boto3 client's two calls"
CLAIM = "cold start to the first warm claim"
REGION = "us-east-1"
CONFIG = load_config({"STAGE": "local", "AWS_REGION": REGION})
REVISION = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/usher-local-listings:1"
WAITING = 4
"""Warm sessions in the table at each claim."""

BARE = """
import json, sys
with open(sys.argv[1]) as file:
    calls = json.load(file)["calls"]
import boto3
dynamodb = boto3.session.Session(region_name="us-east-1").client("dynamodb")
assert dynamodb.query(**calls["query"])["Count"]
dynamodb.transact_write_items(**calls["transact_write_items"])
"""
OURS = """
import json, sys
with open(sys.argv[1]) as file:
    event = json.load(file)["event"]
from app import app
answer = app(event, None)
assert answer["statusCode"] == 200 and json.loads(answer["body"])["warm"], answer
"""


def measure_first_claim(run: Run) -> None:
    """Fresh processes in turn, warm file cache."""
    bare: list[float] = []
    ours: list[float] = []
    with tempfile.TemporaryDirectory() as folder, _tables() as aws:
        given = Path(folder) / "given.json"
        for number in range(run.many(60, 3) + 1):
            aws.fill()
            given.write_text(json.dumps({"event": _event(), "calls": aws.calls_of_a_claim()}))
            pair = _start(BARE, given, aws.url), _start(OURS, given, aws.url)
            if number:  # the first round warms the file cache
                bare.append(pair[0])
                ours.append(pair[1])
    run.report.add(GROUP, FLOOR, "ms", bare)
    run.report.add(GROUP, CLAIM, "ms", ours, FLOOR)
    ratios = [mine / floor for mine, floor in zip(ours, bare, strict=True)]
    run.report.add(GROUP, f"{CLAIM}, of each pair", "x floor", ratios)


def _start(script: str, given: Path, endpoint: str) -> float:
    """Milliseconds from the start of the process to its end."""
    environment = {
        "PATH": os.environ["PATH"],
        "STAGE": "local",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    command = [sys.executable, "-c", script, str(given)]
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=60)
    return (time.perf_counter() - began) * 1000


def _event() -> dict[str, Any]:
    """`GET /session` as API Gateway hands it to the function."""
    context = {
        "httpMethod": "GET",
        "resourcePath": "/session",
        "path": "/api/session",
        "domainName": "127.0.0.1",
        "stage": "api",
        "identity": {"sourceIp": "192.0.2.7"},
    }
    headers = {"Host": "127.0.0.1", "User-Agent": "benchmark"}
    return {
        "resource": "/session",
        "path": "/session",
        "httpMethod": "GET",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": context,
        "body": None,
        "isBase64Encoded": False,
    }


class _OneRevision:
    """ECS with one task definition."""

    def call(self, action: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if action != "DescribeTaskDefinition":
            raise NotImplementedError(action)
        family = parameters["taskDefinition"]
        return {"taskDefinition": {"taskDefinitionArn": REVISION, "family": family}}

    def describe_task_definition(self, **parameters: Any) -> dict[str, Any]:
        """As boto3's client has it."""
        return self.call("DescribeTaskDefinition", parameters)


class _Recorder:
    """A DynamoDB client that keeps the arguments of calls; it reads, and writes nothing."""

    def __init__(self, dynamodb: Any) -> None:
        self._dynamodb = dynamodb
        self.calls: dict[str, Any] = {}

    def query(self, **arguments: Any) -> Any:
        self.calls["query"] = arguments
        return self._dynamodb.query(**arguments)

    def transact_write_items(self, **arguments: Any) -> dict[str, Any]:
        self.calls["transact_write_items"] = arguments
        return {}


@dataclass(frozen=True)
class _Tables:
    url: str
    dynamodb: Any

    def fill(self) -> None:
        """Have as many warm sessions as before, and the app's proven revision."""
        kept = self.dynamodb.scan(TableName=CONFIG.sessions_table)["Items"]
        state = AppState("listings", version=1, proven=REVISION)
        items = [APP_STATES.to_item(state), *(to_item(_warm_session()) for _ in range(WAITING))]
        for item in kept:
            self.dynamodb.delete_item(TableName=CONFIG.sessions_table, Key={"id": item["id"]})
        for item in items:
            self.dynamodb.put_item(TableName=CONFIG.sessions_table, Item=item)

    def calls_of_a_claim(self) -> dict[str, Any]:
        """The arguments of a claim's two calls, as the dispatcher makes them."""
        recorder = _Recorder(self.dynamodb)
        clients = Clients(recorder, None, _OneRevision(), None, create=lambda _: None)
        request = parse_dispatch(
            {},
            {},
            apps=CONFIG.apps,
            caller=Caller(owner="ip:192.0.2.8", key_scope="none", is_operator=True),
            callback_base_url="http://127.0.0.1:8000",
            default_wait_seconds=0,
        )
        build(CONFIG, clients).sessions.service.dispatch(request)
        return recorder.calls


def _warm_session() -> Session:
    now = time.time()
    session = Session(
        id=str(uuid.uuid4()),
        uuid=str(uuid.uuid4()),
        key=uuid.uuid4().hex,
        app="listings",
        owner=None,
        callback_url="http://127.0.0.1:8000/sessions/the-id/events",
        created_at=now,
        not_after=now + 120,
        pooled=True,
        task_definition=REVISION,
        task_arn=f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/usher-local/{uuid.uuid4().hex}",
        ip="192.0.2.1",
        port=49153,
        ready_at=now,
    )
    return session.moved(State.STARTING, now, "RunTask").moved(State.WARM, now, "ready, nobody's")


@contextmanager
def _tables() -> Iterator[_Tables]:
    """The embedded cloud's DynamoDB, and an ECS with one task definition, on a free port."""
    listener = create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    endpoint = Endpoint(
        moto=Moto(port),
        ecs=_OneRevision(),
        hosts=Hosts(lambda _: None, lambda _: None, lambda _: None),
        faults=Faults(),
        control=lambda _: Answer(404),
        publish=lambda _: None,
        region=REGION,
    )
    server = HttpServer(listener, endpoint.answer)
    server.start()
    url = f"http://127.0.0.1:{port}"
    try:
        plan = read_plan(ROOT / "infra" / "template.yaml", {"Stage": "local"}, REGION, "local")
        clients = LocalClients(url, REGION)
        execute([call for call in plan if call.service == "dynamodb"], clients.get)
        yield _Tables(url, clients.get("dynamodb"))
    finally:
        server.close()
