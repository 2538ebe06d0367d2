"""One trace from GET /session to the first record, of real processes, in a collector."""

import json
import shutil
import urllib.request

from websockets.sync.client import connect

from tests.collector import Collector, attributes
from tests.integration.conftest import ROOT, finish, launch
from tests.kinesis_server import FakeKinesis
from tests.session_process import CallbackServer, SessionProcess, until

TRACES = ("4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c")
JOB_TRACE = "a3ce929d0e0e47364bf92f3577b34da6"
PARENT = "00f067aa0ba902b7"
HEADER = f"00-{TRACES[0]}-{PARENT}-01"


def session(dispatcher, header):
    request = urllib.request.Request(f"{dispatcher}/session?wait=20")
    if header:
        request.add_header("traceparent", header)
    with urllib.request.urlopen(request, timeout=40) as answer:
        return json.load(answer)


def test_spans_lead_from_the_request_to_the_first_record(tmp_path):
    """Warm and cold: two requests in a row on a pool of one."""
    with Collector() as collector:
        settings = {"TRACES_ENDPOINT": collector.url}
        running = launch(
            tmp_path, runtime="process", pool=1, feed="demo", rate=20, environment=settings
        )
        try:
            dispatcher = running.ready["dispatcher"]
            until(lambda: is_warm(dispatcher), "a warm container", 60)
            got = [session(dispatcher, f"00-{trace}-{PARENT}-01") for trace in TRACES]
            for each in got:
                with connect(each["url"]) as websocket:
                    until(lambda: json.loads(websocket.recv(20))["type"] == "records", "records")
            until(lambda: len(collector.named("first record")) == 2, "the containers' spans")
            invocation = invoke(running, tmp_path / "project")
            until(lambda: collector.named("run"), "the job's span", 120)
        finally:
            finish(running)
    assert [each["warm"] for each in got] == [True, False]
    for trace, each in zip(TRACES, got, strict=True):
        spans = [span for span in collector.spans if span["traceId"] == trace]
        (asked,) = (span for span in spans if span["name"] == "GET /session")
        (first,) = (span for span in spans if span["name"] == "first record")
        starts = {span["parentSpanId"] for span in spans if span["name"] == "ECS start"}
        assert asked["parentSpanId"] == PARENT
        assert first["parentSpanId"] == asked["spanId"]
        assert starts == (set() if each["warm"] else {asked["spanId"]})
        assert (asked["service"], first["service"]) == ("usher-dispatcher", "usher-session")
        assert attributes(asked)["usher.session"] == attributes(first)["usher.session"]
        assert attributes(asked)["usher.session"] == each["id"]
        assert each["path"].strip("/") not in json.dumps(spans)

    assert_one_trace_of_a_job(collector.spans, invocation)


JOB = """
from usher import Job


class Ends(Job):
    def run(self, parameters):
        return None
"""


def invoke(running, project):
    """Run a job within a new trace; returns the invocation's id."""
    (project / "jobs").mkdir(parents=True)
    (project / "jobs" / "ends.py").write_text(JOB, "utf-8")
    (project / "requirements.txt").touch()
    shutil.copy(ROOT / "usher" / "Dockerfile", project / "Dockerfile")
    description = {"name": "ends", "cpu": 16, "memory": 64}
    body = {"image": f"dir:{project}", "description": description}
    assert running.http("PUT", "/jobs/ends", body, timeout=300)[0] == 200
    trace = {"traceparent": f"00-{JOB_TRACE}-{PARENT}-01"}
    status, made = running.http("POST", "/jobs/ends/invocations", {"parameters": None}, trace)
    assert status == 201, made
    return made["id"]


def assert_one_trace_of_a_job(spans, invocation):
    """From the request through the launcher to the container's own span, none of them twice."""
    spans = {span["name"]: span for span in spans if span["traceId"] == JOB_TRACE}
    asked = spans.pop("POST /jobs/{job}/invocations")
    assert asked["parentSpanId"] == PARENT
    assert spans.keys() == {"wait", "launch", "ECS start", "run"}
    assert {span["parentSpanId"] for span in spans.values()} == {asked["spanId"]}
    assert {attributes(span)["usher.invocation"] for span in (asked, *spans.values())} == {
        invocation
    }
    assert (spans["run"]["service"], asked["service"]) == ("usher-job", "usher-dispatcher")
    assert attributes(spans["run"])["usher.outcome"] == "succeeded"
    begins = [int(span["startTimeUnixNano"]) for span in spans.values()]
    assert begins == sorted(begins)


def is_warm(dispatcher):
    with urllib.request.urlopen(f"{dispatcher}/sessions?state=WARM", timeout=20) as answer:
        return json.load(answer)["sessions"]


def test_a_container_believes_no_hostile_place_and_sends_nothing_without_one():
    with Collector() as collector, FakeKinesis() as kinesis:
        for told in (None, f"{HEADER}\r\nX: y", "x" * 100_000, 7, f"00-{'0' * 32}-{PARENT}-01"):
            with CallbackServer() as callbacks:
                callbacks.answer = json.dumps({"traceparent": told}).encode()
                with SessionProcess(kinesis, callbacks, TRACES_ENDPOINT=collector.url) as container:
                    with connect(container.until_ready().url) as websocket:
                        websocket.recv(20)
                        kinesis.put({"n": 1})
                        assert json.loads(websocket.recv(20))["type"] == "records"
                    assert container.exit_code() == 0
        assert collector.spans == []
