"""The AWS endpoint: one loopback port for all services, `/_local/*`, and the ECS agent's endpoints.

ECS, Kinesis and a few others are served by this project, EC2's DescribeInstances from the hosts,
all other calls by moto. Connections are kept alive, each answer is sent in one segment.
"""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol
from urllib.parse import parse_qs

from local.aws import sqs
from local.aws.dynamodb.refusal import RuleError
from local.aws.dynamodb.transactions import ConflictError, Transactions
from local.aws.ec2 import describe_instances, describe_network_interfaces
from local.aws.ecs.errors import EcsApiError
from local.aws.ecs.metadata import PATH
from local.aws.ecs.model import Interface
from local.aws.faults import Faults, Kind
from local.aws.front_end import refusal_by_model
from local.aws.iam.authorizer import Authorizer
from local.aws.iam.principals import task_key
from local.aws.kinesis.api import KinesisApi
from local.aws.kinesis.errors import KinesisError
from local.aws.kinesis.switches import Switches
from local.aws.moto.calls import Moto
from local.aws.provision import ACCOUNT
from local.aws.wire import (
    Answer,
    Call,
    Request,
    error_answer,
    identify,
    json_answer,
)
from local.functions.triggers.events import put_events

OBSERVER = "usher-observer"
"""In the User-Agent of clients that stand for AWS's own components or observe a test: their calls
are neither counted nor hit by faults."""

log = logging.getLogger(__name__)

Service = Callable[[Call, Request], Answer | None]
"""Answers the calls of one service; None = not this one, moto may know it."""


class Ecs(Protocol):
    """The ECS API's interface for this endpoint; implemented by `local.aws.ecs.api.EcsApi`."""

    def call(self, action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Carry out one action. Raises EcsApiError."""


@dataclass(frozen=True)
class Hosts:
    """Data of the engine's hosts and tasks for this endpoint."""

    instance_address: Callable[[str], str | None]
    """EC2 instance id to public IP; None for an instance that is no host."""
    task_role: Callable[[str], str | None]
    """Task id to the ARN of its role; None for a task that does not live or has no role."""
    metadata: Callable[[Sequence[str]], dict[str, Any] | None]
    """The path segments after /v4/ to the container's metadata; None if there is none."""
    network_interface: Callable[[str], Interface | None] = lambda _: None
    """Network interface of a task by its id; None for an id that is none."""


class Endpoint:
    """Answers requests; contains no sockets. Thread-safe."""

    def __init__(
        self,
        *,
        moto: Moto,
        ecs: Ecs,
        hosts: Hosts,
        faults: Faults,
        control: Callable[[Request], Answer],
        publish: Callable[[Mapping[str, Any]], None],
        region: str,
        kinesis: KinesisApi | None = None,
        services: Mapping[str, Service] | None = None,
        forwarded: Mapping[str, Service] | None = None,
        authorizer: Authorizer | None = None,
    ) -> None:
        """`services` are further ones of this project, by boto3's names, `forwarded` are those of
        other emulators, which check requests themselves. Without an authorizer everybody may do
        everything.
        """
        self._forwarded = forwarded or {}
        self._authorizer = authorizer
        self._moto = moto
        self.transactions = Transactions()
        self._ecs = ecs
        self._kinesis = kinesis or KinesisApi(region, ACCOUNT, Switches())
        self._services: dict[str, Service] = {
            "ecs": self._ecs_answer,
            "kinesis": self._kinesis_answer,
            "dynamodb": self._dynamodb_answer,
            "sqs": sqs.refusal,
            **(services or {}),
        }
        self._hosts = hosts
        self._faults = faults
        self._control = control
        self._publish = publish
        self._region = region
        self._calls: Counter[str] = Counter()
        self._lock = Lock()

    @property
    def calls(self) -> dict[str, int]:
        """Number of calls of each AWS operation, without observers."""
        with self._lock:
            return dict(self._calls)

    @property
    def rights(self) -> dict[str, Any]:
        """Refused calls, and the statements that were needed; empty if nothing is checked."""
        return self._authorizer.describe() if self._authorizer else {}

    def answer(self, request: Request) -> Answer | None:
        """The answer; None = cut the connection without one.

        Whom to answer at all is the server's to decide, see `local.access`.
        """
        beside = self._beside_aws(request)
        if beside is not None:
            return beside
        call = identify(request)
        if OBSERVER in request.headers.get("user-agent", ""):
            return self._carry_out(call, request)
        with self._lock:
            self._calls[str(call)] += 1
        faults = {fault.kind: fault for fault in self._faults.for_call(str(call))}
        if delay := faults.get(Kind.DELAY):
            time.sleep(delay.seconds)
        if failure := faults.get(Kind.FAIL_BEFORE):
            return error_answer(call, failure.error, "injected by a fault switch", failure.status)
        answer = self._carry_out(call, request)
        return None if Kind.LOSE_REPLY in faults else answer

    def _beside_aws(self, request: Request) -> Answer | None:
        """The answer to what is no call of AWS's API; None for one that is."""
        if request.path.startswith("/_local/"):
            return self._control(request)
        if request.path.startswith("/v2/credentials/"):
            return self._credentials(request.path.removeprefix("/v2/credentials/"))
        if request.path.startswith(PATH):
            return self._metadata(request.path.removeprefix(PATH))
        return None

    def _carry_out(self, call: Call, request: Request) -> Answer:
        try:
            refusal = self._authorizer.refusal(call, request) if self._authorizer else None
            if refusal is not None:
                log.warning("%s refused: %s", call, refusal.body.decode("utf-8", "replace"))
                return refusal
            answer = self._answer_of_service(call, request)
            if call.service == "s3" and answer.status == 404 and self._authorizer:
                return self._authorizer.refusal_of_missing(call, request) or answer
            if call.service == "events" and call.action == "PutEvents" and answer.status == 200:
                for event in put_events(request.body, answer.body, self._region, ACCOUNT):
                    self._publish(event)
            return answer
        except NotImplementedError as error:
            return error_answer(call, "NotImplemented", f"{call}: {error}", 501)
        except Exception as error:  # an error behind this endpoint becomes an answer, as on AWS
            log.exception("%s failed", call)
            return error_answer(call, "InternalFailure", f"{call}: {error!r}", 500)

    def _answer_of_service(self, call: Call, request: Request) -> Answer:
        forward = self._forwarded.get(call.service)
        answer = forward(call, request) if forward else refusal_by_model(call, request)
        own = self._services.get(call.service)
        if answer is None and own is not None:
            answer = own(call, request)
        if answer is None and call.service == "ec2":
            answer = self._ec2_answer(call, parse_qs(request.body.decode()))
        return self._moto.call(call, request) if answer is None else answer

    def _ec2_answer(self, call: Call, form: dict[str, list[str]]) -> Answer | None:
        if call.action == "DescribeInstances":
            return describe_instances(form, self._hosts.instance_address, self._region)
        if call.action == "DescribeNetworkInterfaces":
            find = self._hosts.network_interface
            return describe_network_interfaces(form, find, self._region)
        return None

    def _kinesis_answer(self, call: Call, request: Request) -> Answer:
        if "json" not in request.headers.get("content-type", ""):
            return error_answer(call, "UnsupportedProtocol", "Kinesis speaks JSON here", 415)
        is_observer = OBSERVER in request.headers.get("user-agent", "")
        try:
            parameters = json.loads(request.body or b"{}")
            return json_answer(self._kinesis.call(call.action, parameters, is_observer=is_observer))
        except KinesisError as error:
            return error_answer(call, error.code, error.message, error.status)

    def _dynamodb_answer(self, call: Call, request: Request) -> Answer:
        """Returns moto's answer, unless a request breaks a rule, or a transaction holds its
        item.
        """
        schema = self._moto.dynamodb_schema(self._region)
        try:
            parameters = json.loads(request.body or b"{}")
            self._moto.check_dynamodb(call.action, parameters, self._region)
            with self.transactions.around(call.action, parameters, schema):
                return self._moto.call(call, request)
        except RuleError as error:
            return error_answer(call, "ValidationException", str(error), 400)
        except ConflictError as error:
            body = {"__type": error.code, "message": str(error), "Message": str(error)}
            return json_answer({**body, **error.members}, 400)

    def _ecs_answer(self, call: Call, request: Request) -> Answer:
        if not request.target:
            return error_answer(call, "UnsupportedProtocol", "ECS speaks AWS JSON 1.1 here", 415)
        try:
            return json_answer(self._ecs.call(call.action, json.loads(request.body or b"{}")))
        except EcsApiError as error:
            return error_answer(call, error.code, error.message, error.status)

    def _metadata(self, path: str) -> Answer:
        """The ECS agent's answer to a container; see ECS_CONTAINER_METADATA_URI_V4."""
        found = self._hosts.metadata(path.strip("/").split("/"))
        if found is None:
            return json_answer({"message": "no task has this id"}, 404, "application/json")
        return json_answer(found, content_type="application/json")

    def _credentials(self, task_id: str) -> Answer:
        """The ECS agent's answer to a task; see AWS_CONTAINER_CREDENTIALS_FULL_URI."""
        role = self._hosts.task_role(task_id)
        if role is None:
            message = "no live task with a role has this id"
            return json_answer({"code": "NoIdInRequest", "message": message}, 400)
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 6 * 3600))
        return json_answer(
            {
                "RoleArn": role,
                "AccessKeyId": task_key(task_id),
                "SecretAccessKey": f"local-{task_id}",
                "Token": f"local-{task_id}",
                "Expiration": expires,
            },
            content_type="application/json",
        )
