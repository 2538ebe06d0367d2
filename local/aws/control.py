"""`/_local/*` on the AWS port: fault switches, hosts, and the embedded cloud's state.

    GET  /_local/state              tasks, hosts, invocations, calls, injected faults
    GET  /_local/faults             the switches in force
    PUT  /_local/faults             put a document of local/aws/faults.py in their place; {} clears
    GET  /_local/kinesis            the limits in force
    PUT  /_local/kinesis            change some of them, see local/aws/kinesis/switches.py
    POST /_local/hosts/NAME/kill    let a host die as by a power cut
    POST /_local/hosts/NAME/interrupt  a Spot interruption: it is gone in two minutes
    GET  /_local/auto-scaling       the hosts' Auto Scaling group (local up --auto-scaling)
    PUT  /_local/auto-scaling       change some of {"launchSeconds", "launchFailures", "zonesOut"}
    POST /_local/dispatcher/kill    kill the dispatcher; another one takes its place
    POST /_local/redis/kill         kill the feed's Redis, data and all; another one follows
    POST /_local/fire               {"function", "event"?}: run a function now, answer its outcome

JSON in and out, no signature.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from local.aws.faults import FaultError, Faults
from local.aws.wire import Answer, Request, json_answer
from local.functions.dispatcher_process import Invocation, UnreachableError


class Controlled(Protocol):
    """Operations on a running embedded cloud; implemented by `local.operations.Operations`."""

    def state(self) -> dict[str, Any]:
        """The state of the cloud as JSON values."""

    def kill_host(self, name: str) -> None:
        """Raises KeyError."""

    def interrupt_host(self, name: str) -> None:
        """A Spot interruption. Raises KeyError."""

    def change_auto_scaling(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Change the Auto Scaling group; its state. Raises KeyError without one, ValueError."""

    def kill_dispatcher(self) -> None:
        """Kill it without warning, as a crash would."""

    def change_kinesis(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Change Kinesis's limits, and return all of them. Raises ValueError."""

    def kill_redis(self) -> None:
        """Kill it without warning. Raises KeyError in a run without one."""

    def fire(self, function: str, event: Any) -> Invocation:
        """Invoke a function now; by default with an event of its source.

        Raises KeyError for an unknown function, UnreachableError.
        """


class Control:
    """Answers the requests."""

    def __init__(self, faults: Faults, cloud: Controlled) -> None:
        self._faults = faults
        self._cloud = cloud
        self._actions: Mapping[tuple[str, str], Callable[[Any], Answer]] = {
            ("GET", "state"): lambda _: _json(cloud.state()),
            ("GET", "faults"): lambda _: _json(dict(faults.document)),
            ("PUT", "faults"): self._set_faults,
            ("GET", "auto-scaling"): lambda _: self._change_auto_scaling({}),
            ("PUT", "auto-scaling"): self._change_auto_scaling,
            ("POST", "dispatcher/kill"): self._kill_dispatcher,
            ("POST", "redis/kill"): self._kill_redis,
            ("GET", "kinesis"): lambda _: self._change_kinesis({}),
            ("PUT", "kinesis"): self._change_kinesis,
            ("POST", "fire"): self._fire,
        }

    def answer(self, request: Request) -> Answer:
        """The answer to one request."""
        try:
            document = json.loads(request.body or b"{}")
        except (ValueError, RecursionError):
            return _problem(400, "the body is not JSON, or nested too deeply")
        if not isinstance(document, dict):
            return _problem(400, "the body is not a JSON object")
        path = request.path.removeprefix("/_local/")
        action = self._actions.get((request.method, path))
        if action is not None:
            return action(document)
        segments = path.split("/")
        if request.method == "POST" and segments[0] == "hosts" and segments[2:] == ["kill"]:
            return self._kill_host(segments[1])
        if request.method == "POST" and segments[0] == "hosts" and segments[2:] == ["interrupt"]:
            return self._interrupt_host(segments[1])
        return _problem(404, f"no {request.method} {request.path} here")

    def _set_faults(self, document: dict[str, Any]) -> Answer:
        try:
            self._faults.set(document)
        except FaultError as error:
            return _problem(400, str(error))
        return _json(document)

    def _kill_host(self, name: str) -> Answer:
        try:
            self._cloud.kill_host(name)
        except KeyError:
            return _problem(404, f"no host is called {name!r}")
        return _json({"killed": name})

    def _interrupt_host(self, name: str) -> Answer:
        try:
            self._cloud.interrupt_host(name)
        except KeyError:
            return _problem(404, f"no host of an Auto Scaling group is called {name!r}")
        return _json({"interrupted": name})

    def _change_auto_scaling(self, document: dict[str, Any]) -> Answer:
        try:
            return _json(self._cloud.change_auto_scaling(document))
        except KeyError:
            return _problem(404, "this run has no Auto Scaling group: local up --auto-scaling")
        except ValueError as error:
            return _problem(400, str(error))

    def _kill_dispatcher(self, _: dict[str, Any]) -> Answer:
        self._cloud.kill_dispatcher()
        return _json({"killed": "dispatcher"})

    def _change_kinesis(self, document: dict[str, Any]) -> Answer:
        try:
            return _json(self._cloud.change_kinesis(document))
        except ValueError as error:
            return _problem(400, str(error))

    def _kill_redis(self, _: dict[str, Any]) -> Answer:
        try:
            self._cloud.kill_redis()
        except KeyError:
            return _problem(404, "this run has no Redis")
        return _json({"killed": "redis"})

    def _fire(self, document: dict[str, Any]) -> Answer:
        function = str(document.get("function"))
        try:
            outcome = self._cloud.fire(function, document.get("event"))
        except KeyError:
            return _problem(404, f"no function is called {function!r}")
        except UnreachableError as error:
            return _json({"function": function, "error": "Unreachable", "payload": str(error)})
        return _json({"function": function, "error": outcome.error, "payload": outcome.payload})


def _json(document: Any, status: int = 200) -> Answer:
    return json_answer(document, status, content_type="application/json")


def _problem(status: int, message: str) -> Answer:
    return _json({"message": message}, status)
