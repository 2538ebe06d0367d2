"""Delayed wake-up messages and logs of jobs: the requests to AWS, and the parsing of its
answers.
"""

import json

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.session import get_session
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.answer_size import MOST_BYTES, escaped_bytes, fitting
from chalicelib.errors import BadRequestError
from chalicelib.jobs.clock import Clock
from chalicelib.tasks.logs import CUT, Line, LogPage, TaskLogs
from chalicelib.tasks.queues import Queues

NOW = 1_767_268_800.25  # 2026-01-01T12:00:00.25Z
URL = "http://queue"
ARN = "arn:aws-cn:sqs:cn-north-1:123456789012:q"


def client(service):
    return get_session().create_client(
        service, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )


class Aws:
    """Clients that expect calls in order."""

    def __init__(self):
        self.sqs, self.scheduler = client("sqs"), client("scheduler")
        self.queues, self.times = Stubber(self.sqs), Stubber(self.scheduler)
        self.queues.activate()
        self.times.activate()
        self.clock = Clock(Queues(self.sqs), lambda: self.scheduler, "dev", lambda: NOW)
        self.queues.add_response("get_queue_url", {"QueueUrl": URL}, {"QueueName": "q"})

    def expect_arn(self):
        self.queues.add_response("get_queue_attributes", {"Attributes": {"QueueArn": ARN}})

    def expect_message(self, delay):
        expected = {"QueueUrl": URL, "MessageBody": '{"a": 1}', "DelaySeconds": delay}
        self.queues.add_response("send_message", {}, expected)

    def done(self):
        self.queues.assert_no_pending_responses()
        self.times.assert_no_pending_responses()


@pytest.fixture
def aws():
    aws = Aws()
    yield aws
    aws.done()


def one_time(name, at):
    return {
        "Name": name,
        "GroupName": "usher-dev",
        "ScheduleExpression": at,
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": ARN,
            "RoleArn": "arn:aws-cn:iam::123456789012:role/usher-dev-scheduler",
            "Input": '{"a": 1}',
        },
    }


@pytest.mark.parametrize(("seconds", "delay"), [(-5, 0), (0, 0), (0.1, 1), (59.9, 60), (900, 900)])
def test_what_is_soon_waits_in_the_queue_and_never_comes_early(aws, seconds, delay):
    aws.expect_message(delay)
    assert aws.clock.wake_at(NOW + seconds, {"a": 1}, "q")


def test_what_is_far_is_a_one_time_schedule_that_goes_when_it_has_fired(aws):
    aws.expect_arn()
    arn = {"ScheduleArn": "arn:aws:scheduler:::schedule/g/n"}
    aws.times.add_response("create_schedule", arn, one_time("n", "at(2026-01-01T12:15:01)"))
    assert aws.clock.wake_at(NOW + 900.5, {"a": 1}, "q", "n")


def test_another_wake_of_the_same_name_takes_the_place_of_the_first(aws):
    aws.expect_arn()
    arn = {"ScheduleArn": "arn:aws:scheduler:::schedule/g/n"}
    wanted = one_time("n", "at(2026-01-01T13:00:01)")
    aws.times.add_client_error("create_schedule", "ConflictException", expected_params=wanted)
    aws.times.add_response("update_schedule", arn, wanted)
    assert aws.clock.wake_at(NOW + 3600, {"a": 1}, "q", "n")


def test_without_a_name_the_same_message_has_the_same(aws):
    names = []
    aws.expect_arn()
    aws.scheduler.meta.events.register(
        "provide-client-params.scheduler.CreateSchedule",
        lambda params, **_: names.append(params["Name"]),
    )
    for message in ({"a": 1}, {"a": 1}, {"a": 2}):
        aws.times.add_response("create_schedule", {"ScheduleArn": "arn:aws:scheduler:::x"})
        aws.clock.wake_at(NOW + 3600, message, "q")
    assert names[0] == names[1] != names[2]
    assert len(names[0]) <= 64


def test_what_cannot_be_sent_is_left_to_the_sweep(aws):
    aws.queues.add_client_error("send_message", "InternalError")
    assert not aws.clock.wake_at(NOW, {"a": 1}, "q")


def test_a_wake_is_forgotten_also_when_there_is_none():
    aws = Aws()
    where = {"Name": "n", "GroupName": "usher-dev"}
    aws.times.add_response("delete_schedule", {}, where)
    aws.times.add_client_error(
        "delete_schedule", "ResourceNotFoundException", expected_params=where
    )
    aws.clock.forget("n")
    aws.clock.forget("n")
    aws.times.assert_no_pending_responses()


# Logs.

TASK = "arn:aws:ecs:us-east-1:123456789012:task/usher-dev/0123abc"
QUERY = {"logGroupName": "/g", "logStreamName": "report/job/0123abc", "startFromHead": True}


@pytest.fixture
def logs():
    made = client("logs")
    with Stubber(made) as stub:
        stub.pages = TaskLogs(lambda: made, "/g", "job")
        yield stub
        stub.assert_no_pending_responses()


def answered(token, *events):
    told = [{"timestamp": at, "message": text, "ingestionTime": at} for at, text in events]
    return {"events": told, "nextForwardToken": token, "nextBackwardToken": "b/0"}


def test_lines_come_page_by_page_until_the_token_stays(logs):
    logs.add_response("get_log_events", answered("f/2", (1500, "a"), (2000, "b")),
                      QUERY | {"limit": 2})  # fmt: skip
    first = logs.pages.page("report", TASK, None, 2)
    assert first == LogPage((Line(1.5, "a"), Line(2.0, "b")), "f/2", is_last=False)
    logs.add_response("get_log_events", answered("f/2"), QUERY | {"limit": 2, "nextToken": "f/2"})
    assert logs.pages.page("report", TASK, "f/2", 2) == LogPage((), "f/2", is_last=True)


def test_an_empty_page_in_the_middle_is_not_the_end(logs):
    logs.add_response("get_log_events", answered("f/3"))
    assert logs.pages.page("report", TASK, "f/2") == LogPage((), "f/3", is_last=False)


def test_a_task_without_a_stream_has_no_lines_yet(logs):
    assert logs.pages.page("report", None, None) == LogPage((), None, is_last=True)
    logs.add_client_error("get_log_events", "ResourceNotFoundException")
    assert logs.pages.page("report", TASK, None) == LogPage((), None, is_last=True)


def test_a_page_is_bounded_whatever_is_asked_for(logs):
    for asked, limit in ((0, 1), (10**6, 1000)):
        logs.add_response("get_log_events", answered("f/1"), QUERY | {"limit": limit})
        logs.pages.page("report", TASK, None, asked)


def test_a_page_that_lambda_could_not_answer_is_asked_for_again_with_fewer_lines(logs):
    """A program that prints control characters: 1 MiB of them are 7 MiB in an answer."""
    events = [(n, "\x01" * 1024) for n in range(1000)]
    logs.add_response("get_log_events", answered("f/1000", *events), QUERY | {"limit": 1000})
    number = fitting(text for _, text in events)
    assert 600 < number < 800
    logs.add_response(
        "get_log_events", answered("f/n", *events[:number]), QUERY | {"limit": number}
    )
    page = logs.pages.page("report", TASK, None, 1000)
    assert (len(page.lines), page.next_token) == (number, "f/n")
    assert escaped_bytes([line.text for line in page.lines]) < 6 * 1024 * 1024


@pytest.mark.parametrize("text", ["\x00", "\U0001f600", "é", '"'])
def test_a_line_that_lambda_could_not_answer_is_cut(logs, text):
    line = text * (1024 * 1024)
    logs.add_response("get_log_events", answered("f/1", (1, line)))
    (shown,) = logs.pages.page("report", TASK, None).lines
    assert escaped_bytes(shown.text) < 6 * 1024 * 1024
    is_cut = escaped_bytes(line) > MOST_BYTES
    assert (shown.text == line) is not is_cut
    assert shown.text.endswith(CUT) is is_cut
    assert shown.text[:300_000] == line[:300_000]


@given(st.lists(st.text(), max_size=5))
def test_the_size_of_a_row_is_what_it_takes_in_an_answer(rows):
    body = json.dumps({"lines": rows})
    proxy_response = json.dumps({"statusCode": 200, "body": body}, ensure_ascii=False)
    assert len(proxy_response.encode()) <= sum(map(escaped_bytes, rows)) + 60
    assert fitting(rows, 10**6) == len(rows)
    assert fitting(rows, 0) == min(1, len(rows))


def test_a_token_that_is_none_is_the_callers_mistake(logs):
    with pytest.raises(BadRequestError):
        logs.pages.page("report", TASK, "a b\n")
    logs.add_client_error("get_log_events", "InvalidParameterException")
    with pytest.raises(BadRequestError):
        logs.pages.page("report", TASK, "made-up")
    logs.add_client_error("get_log_events", "ThrottlingException")
    with pytest.raises(ClientError):
        logs.pages.page("report", TASK, None)


def test_nobody_at_the_other_end_is_no_empty_log():
    def refuse():
        raise EndpointConnectionError(endpoint_url="http://x")

    with pytest.raises(EndpointConnectionError):
        TaskLogs(refuse, "/g", "job").page("report", TASK, None)
