"""Output for operators: metrics in both formats, logs without secrets, and no lost waiters."""

import json
import logging
import re
import threading
from pathlib import Path

import pytest

from chalicelib.ecs.hosts import is_leaving
from chalicelib.ecs.task_changes import parse_task
from chalicelib.logs import JsonFormatter
from chalicelib.metrics import EmbeddedMetrics, ProcessMetrics
from chalicelib.sessions.arrivals import Arrivals
from chalicelib.sessions.launch_queue import LaunchAgain, ReconcilePool, read_message

ROOT = Path(__file__).parents[3]


def test_an_embedded_metric_names_its_value_unit_and_dimensions():
    lines: list[str] = []
    metrics = EmbeddedMetrics("prod", lines.append)
    metrics.observe("start_seconds", 1.5, app="chat")
    (line,) = map(json.loads, lines)
    (told,) = line["_aws"]["CloudWatchMetrics"]
    assert told["Namespace"] == "Usher"
    assert told["Dimensions"] == [["stage", "app"]]
    assert told["Metrics"] == [{"Name": "start_seconds", "Unit": "Seconds"}]
    assert (line["start_seconds"], line["stage"], line["app"]) == (1.5, "prod", "chat")
    assert line["_aws"]["Timestamp"] > 1_600_000_000_000


def test_counts_and_gauges_are_counts():
    lines: list[str] = []
    metrics = EmbeddedMetrics("prod", lines.append)
    metrics.count("dispatched", 2)
    metrics.gauge("pool_warm", 7)
    units = [json.loads(line)["_aws"]["CloudWatchMetrics"][0]["Metrics"][0] for line in lines]
    assert [unit["Unit"] for unit in units] == ["Count", "Count"]


def test_prometheus_text_sums_counts_and_keeps_gauges():
    metrics = ProcessMetrics()
    for seconds in (1.0, 2.5):
        metrics.observe("start_seconds", seconds, app="chat")
    metrics.count("dispatched", 2, app="chat", kind="warm")
    metrics.count("dispatched", 1, app="chat", kind="warm")
    metrics.gauge("pool_warm", 7)
    metrics.gauge("pool_warm", 3)
    assert metrics.text().splitlines() == [
        "# TYPE usher_dispatched_total counter",
        'usher_dispatched_total{app="chat",kind="warm"} 3',
        "# TYPE usher_pool_warm gauge",
        "usher_pool_warm 3",
        "# TYPE usher_start_seconds summary",
        'usher_start_seconds_count{app="chat"} 2',
        'usher_start_seconds_sum{app="chat"} 3.5',
    ]


def test_a_label_cannot_break_out_of_its_quotes():
    metrics = ProcessMetrics()
    metrics.count("refused", code='x"} 9\n')
    (_, line) = metrics.text().splitlines()
    assert line == 'usher_refused_total{code="x\\"} 9\\n"} 1'


def test_every_metric_the_code_makes_is_documented_and_the_other_way_round():
    code = "\n".join(p.read_text("utf-8") for p in (ROOT / "chalicelib").rglob("*.py"))
    made = set(re.findall(r'_?metrics\.(?:count|observe|gauge)\(\s*"(\w+)"', code))
    table = (ROOT / "docs/operations.md").read_text("utf-8").split("| name |")[1].split("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert made == documented


def test_a_log_line_is_json_with_fields_of_its_own():
    record = logging.makeLogRecord(
        {"name": "usher.sessions", "levelname": "INFO", "msg": "to %s", "args": ("WARM",)}
        | {"session": "6d6c", "app": "chat", "key": "not a field"}
    )
    line = json.loads(JsonFormatter().format(record))
    assert (line["message"], line["session"], line["app"]) == ("to WARM", "6d6c", "chat")
    assert "not a field" not in str(line)


def test_who_waits_here_is_woken_by_the_news():
    arrivals = Arrivals()
    with arrivals.expecting("a") as mine, arrivals.expecting("b") as other:
        threading.Thread(target=arrivals.announce, args=("a",)).start()
        assert mine.wait(10)
        assert not other.is_set()
    arrivals.announce("a")


def test_messages_of_the_launch_queue_are_told_apart():
    assert read_message('{"session": "6d6c", "tries": 2}') == LaunchAgain("6d6c", 2)
    assert read_message('{"tend": "chat", "claimed": true}') == ReconcilePool("chat", claimed=True)


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"session": 1, "tries": 2}', '{"tend": null}'])
def test_what_is_no_message_is_refused(body):
    with pytest.raises(ValueError):  # noqa: PT011 - json's own or ours
        read_message(body)


@pytest.mark.parametrize(
    ("detail", "leaving"),
    [
        ({"status": "ACTIVE", "agentConnected": True}, False),
        ({"status": "ACTIVE"}, False),
        ({"status": "ACTIVE", "agentConnected": False}, True),
        ({"status": "DRAINING", "agentConnected": True}, True),
        ({"status": "INACTIVE"}, True),
    ],
)
def test_a_host_leaves_by_draining_or_by_silence(detail, leaving):
    assert is_leaving(detail) is leaving


def test_a_task_is_read_alike_from_an_event_and_from_a_description():
    task = {
        "taskArn": "arn:task",
        "version": 4,
        "lastStatus": "RUNNING",
        "desiredStatus": "RUNNING",
        "startedBy": "session/6d6c",
        "createdAt": "2026-01-31T09:15:30.250Z",
        "containers": [
            {"name": "sidecar", "networkBindings": [{"hostPort": 1}]},
            {"name": "session", "networkBindings": [{"hostPort": 49153}], "exitCode": 0},
        ],
        "attachments": [{"details": [{"name": "networkInterfaceId", "value": "eni-1"}]}],
    }
    change = parse_task(task)
    assert (change.host_port, change.network_interface_id, change.version) == (49153, "eni-1", 4)
    assert change.created_at == 1_769_850_930.25
    assert parse_task({"taskArn": "a", "lastStatus": "PENDING"}).host_port is None
