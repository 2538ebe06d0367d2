"""EventBridge Scheduler: schedules that send messages to SQS queues when they are due.

What it knows lives as long as the run. Where AWS is up to a minute late, this is on time.
"""

import json
import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.exceptions import BotoCoreError, ClientError

from local.aws.scheduler.model import NAME, Entry, SchedulerError, entry_for, invalid, message_of
from local.aws.wire import Answer, Call, Request, error_answer, json_answer

DEFAULT_GROUP = "default"
PAGE = 100

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Group and name of a schedule."""


class Scheduler:
    """All schedules, and the thread that fires them. Thread-safe."""

    def __init__(
        self,
        send: Callable[[str, str, Mapping[str, Any]], None],
        region: str,
        account: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`send(queue_arn, body, sqs_parameters)` puts a message into a queue."""
        self._send = send
        self._arn = f"arn:aws:scheduler:{region}:{account}:"
        self._now = now
        self._changed = threading.Condition()
        self._closed = False
        self._groups: dict[str, datetime] = {DEFAULT_GROUP: now()}
        self._entries: dict[Key, Entry] = {}
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._actions: Mapping[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
            "CreateSchedule": self._create,
            "UpdateSchedule": self._update,
            "GetSchedule": self._get,
            "DeleteSchedule": self._delete,
            "ListSchedules": self._list,
            "CreateScheduleGroup": self._create_group,
            "GetScheduleGroup": self._get_group,
            "DeleteScheduleGroup": self._delete_group,
            "ListScheduleGroups": self._list_groups,
        }

    def start(self) -> None:
        """Fire from now on."""
        self._thread.start()

    def close(self) -> None:
        """Fire nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def answer(self, call: Call, request: Request) -> Answer:
        """The answer to a request. Raises NotImplementedError for unsupported operations."""
        perform = self._actions.get(call.action)
        if perform is None:
            raise NotImplementedError(f"known are {', '.join(self._actions)}")
        segments = request.path.strip("/").split("/")
        parameters = {name: values[0] for name, values in parse_qs(request.query).items()}
        try:
            parameters |= json.loads(request.body or b"{}")
            with self._changed:
                document = perform(unquote(segments[1]) if len(segments) > 1 else "", parameters)
                self._changed.notify_all()
        except SchedulerError as error:
            return error_answer(call, error.code, str(error), error.status)
        return json_answer(document, content_type="application/json")

    # Schedules.

    def _create(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        group = self._group(parameters)
        known = self._entries.get((group, name))
        token = parameters.get("ClientToken")
        if known is not None and (token is None or known.client_token != token):
            raise SchedulerError("ConflictException", f"Schedule {name} already exists.", 409)
        entry = known or entry_for(name, group, parameters, self._now())
        self._entries[group, name] = entry
        return {"ScheduleArn": self._schedule_arn(entry)}

    def _update(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        before = self._find(name, parameters)
        entry = entry_for(name, before.group, parameters, self._now(), before)
        self._entries[entry.group, name] = entry
        return {"ScheduleArn": self._schedule_arn(entry)}

    def _get(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        entry = self._find(name, parameters)
        return {
            **entry.settings,
            "Arn": self._schedule_arn(entry),
            "CreationDate": entry.created_at,
            "LastModificationDate": entry.modified_at,
            "GroupName": entry.group,
            "Name": entry.name,
        }

    def _delete(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        entry = self._find(name, parameters)
        del self._entries[entry.group, entry.name]
        return {}

    def _list(self, _: str, parameters: dict[str, Any]) -> dict[str, Any]:
        group = parameters.get("ScheduleGroup") or parameters.get("GroupName")
        prefix = parameters.get("NamePrefix", "")
        state = parameters.get("State")
        chosen = [
            entry
            for key, entry in sorted(self._entries.items())
            if group in {None, entry.group}
            and entry.name.startswith(prefix)
            and state in {None, entry.settings["State"]}
        ]
        start = _place(parameters.get("NextToken"))
        end = start + int(parameters.get("MaxResults", PAGE))
        document: dict[str, Any] = {
            "Schedules": [self._summary(entry) for entry in chosen[start:end]]
        }
        if end < len(chosen):
            document["NextToken"] = str(end)
        return document

    def _summary(self, entry: Entry) -> dict[str, Any]:
        return {
            "Arn": self._schedule_arn(entry),
            "CreationDate": entry.created_at,
            "GroupName": entry.group,
            "LastModificationDate": entry.modified_at,
            "Name": entry.name,
            "State": entry.settings["State"],
            "Target": {"Arn": entry.settings["Target"]["Arn"]},
        }

    def _find(self, name: str, parameters: Mapping[str, Any]) -> Entry:
        entry = self._entries.get((self._group(parameters), name))
        if entry is None:
            raise _missing(f"Schedule {name} does not exist.")
        return entry

    def _schedule_arn(self, entry: Entry) -> str:
        return f"{self._arn}schedule/{entry.group}/{entry.name}"

    # Groups.

    def _group(self, parameters: Mapping[str, Any]) -> str:
        """The group of a request: in the query `groupName`, in a body `GroupName`."""
        group = parameters.get("GroupName") or parameters.get("groupName") or DEFAULT_GROUP
        if group not in self._groups:
            raise _missing(f"Schedule group {group} does not exist.")
        return str(group)

    def _create_group(self, name: str, _: dict[str, Any]) -> dict[str, Any]:
        if not NAME.fullmatch(name):
            raise invalid(f"{name!r} is no name of a schedule group")
        if name in self._groups:
            raise SchedulerError("ConflictException", f"Schedule group {name} exists.", 409)
        self._groups[name] = self._now()
        return {"ScheduleGroupArn": f"{self._arn}schedule-group/{name}"}

    def _get_group(self, name: str, _: dict[str, Any]) -> dict[str, Any]:
        group = self._group({"GroupName": name})
        return {
            "Arn": f"{self._arn}schedule-group/{group}",
            "CreationDate": self._groups[group],
            "LastModificationDate": self._groups[group],
            "Name": group,
            "State": "ACTIVE",
        }

    def _delete_group(self, name: str, _: dict[str, Any]) -> dict[str, Any]:
        group = self._group({"GroupName": name})
        if group == DEFAULT_GROUP:
            raise invalid("The default group cannot be deleted.")
        del self._groups[group]
        self._entries = {key: entry for key, entry in self._entries.items() if key[0] != group}
        return {}

    def _list_groups(self, _: str, parameters: dict[str, Any]) -> dict[str, Any]:
        prefix = parameters.get("NamePrefix", "")
        names = [name for name in sorted(self._groups) if name.startswith(prefix)]
        return {"ScheduleGroups": [self._get_group(name, {}) for name in names]}

    # Firing.

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                due = self._take_due(self._now())
                if not due:
                    self._changed.wait(self._patience_seconds())
            for entry, at in due:
                self._fire(entry, at)

    def _patience_seconds(self) -> float | None:
        times = [e.due_at for e in self._entries.values() if e.due_at and e.is_enabled]
        if not times:
            return None
        # The machine's clock may be set, and the machine may sleep: check at least once a minute.
        return min(60.0, max(0.0, (min(times) - self._now()).total_seconds()))

    def _take_due(self, now: datetime) -> list[tuple[Entry, datetime]]:
        taken = []
        for key, entry in list(self._entries.items()):
            if not entry.is_enabled or entry.due_at is None or entry.due_at > now:
                continue
            taken.append((entry, entry.due_at))
            following = entry.due_after(now)  # what a sleeping machine missed is one
            if following is None and entry.ends_with_deletion:
                del self._entries[key]
            else:
                self._entries[key] = replace(entry, due_at=following)
        return taken

    def _fire(self, entry: Entry, at: datetime) -> None:
        target = entry.settings["Target"]
        body = message_of(entry, self._schedule_arn(entry), at, str(uuid.uuid4()))
        try:
            self._send(target["Arn"], body, target.get("SqsParameters") or {})
        except (BotoCoreError, ClientError):
            log.exception("schedule %s/%s sent nothing", entry.group, entry.name)


def _missing(message: str) -> SchedulerError:
    return SchedulerError("ResourceNotFoundException", message, 404)


def _place(token: Any) -> int:
    if token is None:
        return 0
    if not str(token).isdecimal():
        raise invalid("NextToken is invalid")
    return int(token)


def sender(sqs: Callable[[], Any]) -> Callable[[str, str, Mapping[str, Any]], None]:
    """The function with which `Scheduler` sends; `sqs()` returns a boto3 client."""

    def send(queue_arn: str, body: str, parameters: Mapping[str, Any]) -> None:
        client = sqs()
        url = client.get_queue_url(QueueName=queue_arn.rpartition(":")[2])["QueueUrl"]
        client.send_message(QueueUrl=url, MessageBody=body, **parameters)

    return send
