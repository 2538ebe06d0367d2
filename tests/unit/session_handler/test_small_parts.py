"""The smaller decisions: answers of the dispatcher, first bytes, iterators, lazy modules."""

import re
import subprocess
import sys

import pytest

import session_handler
from chalicelib.contract.repeating import Verdict, judge
from session_handler import gate
from session_handler.cursor import After, Horizon, Since
from session_handler.feeds import open_feed
from session_handler.feeds.kinesis import FeedError, place
from session_handler.feeds.kinesis_client import endpoint_for
from session_handler.server import MAX_HEAD_BYTES, read_script, refuse_head
from session_handler.settings import parse

LEAST = {"SESSION_ID": "id", "SESSION_UUID": "0b4f3d52-3c8e-4e0e-9a2b-1f2e3d4c5b6a"}


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.ACCEPTED),
        (204, Verdict.ACCEPTED),
        (302, Verdict.REPEAT),
        (400, Verdict.NEVER),
        (401, Verdict.NEVER),
        (404, Verdict.NEVER),
        (408, Verdict.REPEAT),
        (409, Verdict.NEVER),
        (425, Verdict.REPEAT),
        (429, Verdict.REPEAT),
        (500, Verdict.REPEAT),
        (503, Verdict.REPEAT),
    ],
)
def test_what_an_answer_means_for_a_callback(status, verdict):
    assert judge(status) is verdict


@pytest.mark.parametrize("head", [b"", b"G", b"GET", b"GET ", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_get_may_come_in_pieces(head):
    assert refuse_head(head) is None


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (b"POST / HTTP/1.1\r\n", gate.METHOD_NOT_ALLOWED),
        (b"GETS / HTTP/1.1\r\n", gate.METHOD_NOT_ALLOWED),
        (b"get / HTTP/1.1\r\n", gate.BAD_REQUEST),
        (b"\x16\x03\x01", gate.BAD_REQUEST),
        (b"\r\n\r\n", gate.BAD_REQUEST),
        (b"A" * 21, gate.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\n\r\nmore", gate.BAD_REQUEST),
        (b"GET /" + b"a" * MAX_HEAD_BYTES, gate.HEAD_TOO_LARGE),
    ],
)
def test_other_beginnings_are_refused_as_soon_as_they_show(head, answer):
    assert refuse_head(head) is answer


def test_a_method_in_pieces_is_waited_for():
    assert refuse_head(b"PO") is None
    assert refuse_head(b"POST ") is gate.METHOD_NOT_ALLOWED


def test_iterators_for_positions():
    assert place(After(9), 0)["ShardIteratorType"] == "AFTER_SEQUENCE_NUMBER"
    assert place(After(9, 3), 0)["ShardIteratorType"] == "AT_SEQUENCE_NUMBER"
    assert place(Horizon(), 0) == {"ShardIteratorType": "TRIM_HORIZON"}
    assert place(Since(5_000), 9.0)["Timestamp"] == 5.0
    assert place(Since(99_000), 9.0)["Timestamp"] == 9.0, "Kinesis refuses instants to come"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://host:6379", "must be redis"),
        ("rediss://host:x/updates", "no URL"),
        ("updates", "must be kinesis"),
        ("kinesis://", "names no stream"),
        ("kinesis://a/b", "names no stream"),
        ("kinesis://a:b@c", "names no stream"),
    ],
)
def test_feeds_that_cannot_be(url, words):
    with pytest.raises(FeedError, match=words):
        open_feed(parse(LEAST | {"FEED_URL": url}))


def test_no_feed_and_one():
    assert open_feed(parse(LEAST)) is None
    for url in ("kinesis://my.stream_1", "redis://host:6379/updates", "rediss://u:p@host/x"):
        assert open_feed(parse(LEAST | {"FEED_URL": url})) is not None


def test_kinesis_endpoints():
    assert endpoint_for("eu-north-1") == "https://kinesis.eu-north-1.amazonaws.com"
    assert endpoint_for("cn-north-1") == "https://kinesis.cn-north-1.amazonaws.com.cn"


def test_the_client_library_is_of_this_version():
    (version,) = re.findall(r'export const version = "(.*)";', read_script())
    assert version == session_handler.__version__


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_module_on_demand_works_when_it_is_demanded():
    code = """
import sys
from session_handler.lean_imports import load_on_demand
load_on_demand("importlib.metadata")
import importlib.metadata
print("email.message" in sys.modules, end=" ")
from importlib.metadata import version
print(version("websockets") != "", importlib.metadata.version is version)
"""
    assert run(code) == "False True True"


def test_the_container_imports_nothing_heavy():
    code = """
import sys
import session_handler.container
print(sorted({m.partition(".")[0] for m in sys.modules} & {
    "boto3", "botocore", "moto", "requests", "urllib3", "local", "pytest"}))
"""
    assert run(code) == "[]"
