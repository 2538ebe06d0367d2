"""CloudWatch Logs of tasks: the output of their containers, read from the files that keep it.

Only containers whose task definition has the log driver awslogs write to it.
https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local.aws.logs import streams as log_streams
from local.aws.logs.streams import PAGE_EVENTS, Event, Stream
from local.aws.wire import Answer, Call, Request, error_answer, json_answer

Parameters = Mapping[str, Any]

MAX_STREAMS = 50
"""Maximum of DescribeLogStreams."""

_TOKEN = re.compile(r"([fb])/(\d{1,20})")


class LogsError(Exception):
    """An error of the API with status 400."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class LogsApi:
    """Thread-safe: it only reads."""

    def __init__(self, root: Path, region: str, account: str) -> None:
        """`root` is the folder of all log groups."""
        self._root = root
        self._arn = f"arn:aws:logs:{region}:{account}:log-group:"
        self._actions: Mapping[str, Callable[[Parameters], dict[str, Any]]] = {
            "GetLogEvents": self._get_events,
            "FilterLogEvents": self._filter_events,
            "DescribeLogStreams": self._describe_streams,
            "DescribeLogGroups": self._describe_groups,
        }

    def answer(self, call: Call, request: Request) -> Answer | None:
        """The answer to a request; None for actions that do not concern tasks."""
        if call.action not in self._actions:
            return None
        try:
            return json_answer(self.call(call.action, json.loads(request.body or b"{}")))
        except LogsError as error:
            return error_answer(call, error.code, str(error), 400)

    def call(self, action: str, parameters: Parameters) -> dict[str, Any]:
        """Answer one request. Raises LogsError, NotImplementedError for other actions."""
        perform = self._actions.get(action)
        if perform is None:
            raise NotImplementedError(f"known are {', '.join(self._actions)}")
        return perform(parameters)

    def _get_events(self, parameters: Parameters) -> dict[str, Any]:
        stream = self._open(_group_of(parameters), str(parameters.get("logStreamName")))
        limit = _limit(parameters, PAGE_EVENTS)
        token = parameters.get("nextToken")
        if token is not None:
            forward, place = _read_token(token)
        else:
            forward, place = bool(parameters.get("startFromHead")), None
        page = stream.forward(place or 0, limit) if forward else stream.backward(place, limit)
        return {
            "events": [_shown(event) for event in page.events if _in_time(event, parameters)],
            "nextForwardToken": f"f/{page.end:020}",
            "nextBackwardToken": f"b/{page.start:020}",
        }

    def _filter_events(self, parameters: Parameters) -> dict[str, Any]:
        """In the order of streams and of places; its token is the stream and the place in it."""
        group = _group_of(parameters)
        pattern = str(parameters.get("filterPattern") or "").strip()
        if re.search(r"[\[{?%]|(^|\s)-", pattern):
            raise NotImplementedError(f"filter patterns are words here, not {pattern!r}")
        terms = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', pattern)]
        names = self._chosen(group, parameters)
        name, _, place = str(parameters.get("nextToken") or "").rpartition("#")
        left = _limit(parameters, PAGE_EVENTS)
        found: list[dict[str, Any]] = []
        for each in (known for known in names if known >= name):
            stream = self._open(group, each)
            page = stream.forward(int(place) if each == name else 0, left)
            found += [
                {**_shown(event), "logStreamName": each, "eventId": f"{each}#{event.start}"}
                for event in page.events
                if _in_time(event, parameters) and all(word in event.message for word in terms)
            ]
            left -= len(page.events)
            if left <= 0 or stream.forward(page.end, 1).events:
                return {"events": found, "nextToken": f"{each}#{page.end}"}
        return {"events": found, "searchedLogStreams": []}

    def _describe_streams(self, parameters: Parameters) -> dict[str, Any]:
        group = _group_of(parameters)
        names = self._chosen(group, parameters)
        after = str(parameters.get("nextToken") or "")
        shown = [name for name in names if name > after]
        page = shown[: _limit(parameters, MAX_STREAMS)]
        answer: dict[str, Any] = {"logStreams": [self._describe(group, name) for name in page]}
        if len(shown) > len(page):
            answer["nextToken"] = page[-1]
        return answer

    def _describe(self, group: str, name: str) -> dict[str, Any]:
        stream = self._open(group, name)
        shown = {
            "logStreamName": name,
            "arn": f"{self._arn}{group}:log-stream:{name}",
            "storedBytes": 0,
        }
        first, last = stream.forward(0, 1).events, stream.backward(None, 1).events
        if first and last:
            shown |= {
                "creationTime": first[0].at_ms,
                "firstEventTimestamp": first[0].at_ms,
                "lastEventTimestamp": last[0].at_ms,
                "lastIngestionTime": last[0].at_ms,
            }
        return shown

    def _describe_groups(self, parameters: Parameters) -> dict[str, Any]:
        prefix = str(parameters.get("logGroupNamePrefix") or "")
        return {
            "logGroups": [
                {"logGroupName": name, "arn": f"{self._arn}{name}:*", "storedBytes": 0}
                for name in log_streams.groups(self._root)
                if name.startswith(prefix)
            ]
        }

    def _chosen(self, group: str, parameters: Parameters) -> list[str]:
        """The streams of a group that the parameters name, by name or by prefix."""
        if group not in log_streams.groups(self._root):
            raise LogsError("ResourceNotFoundException", "The specified log group does not exist.")
        prefix = str(parameters.get("logStreamNamePrefix") or "")
        wanted = parameters.get("logStreamNames")
        names = log_streams.streams(self._root, group)
        return [n for n in names if n.startswith(prefix) and (wanted is None or n in wanted)]

    def _open(self, group: str, name: str) -> Stream:
        try:
            return Stream(self._root, group, name)
        except FileNotFoundError:
            terms = "The specified log stream does not exist."
            raise LogsError("ResourceNotFoundException", terms) from None


def _group_of(parameters: Parameters) -> str:
    group = parameters.get("logGroupName") or parameters.get("logGroupIdentifier")
    if not isinstance(group, str) or not group:
        raise LogsError("InvalidParameterException", "logGroupName is missing")
    return group.partition(":log-group:")[2].removesuffix(":*") or group


def _limit(parameters: Parameters, most: int) -> int:
    limit = parameters.get("limit") or most
    if not isinstance(limit, int) or not 1 <= limit <= most:
        raise LogsError("InvalidParameterException", f"limit is from 1 to {most}")
    return limit


def _read_token(token: Any) -> tuple[bool, int]:
    """Parse a token: whether it points forward, and its place."""
    match = _TOKEN.fullmatch(str(token))
    if match is None:
        raise LogsError("InvalidParameterException", "The specified nextToken is invalid.")
    return match[1] == "f", int(match[2])


def _in_time(event: Event, parameters: Parameters) -> bool:
    start, end = parameters.get("startTime"), parameters.get("endTime")
    return (start is None or event.at_ms >= start) and (end is None or event.at_ms < end)


def _shown(event: Event) -> dict[str, Any]:
    return {"timestamp": event.at_ms, "ingestionTime": event.at_ms, "message": event.message}
