"""Trace contexts: accepted headers of callers, forwarded ones, and sent spans."""

import logging
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.config import ConfigurationError, load_config
from chalicelib.contract.traces import new_root, parse_traceparent, span
from chalicelib.traces import Traces
from tests.collector import Collector, attributes
from tests.unit.chalicelib.test_cold_import import modules_after

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{PARENT}-01"


def test_a_context_is_read_and_said_again():
    place = parse_traceparent(HEADER)
    assert (place.trace_id, place.span_id, place.is_sampled) == (TRACE, PARENT, True)
    assert place.header == HEADER
    later = parse_traceparent(f"cc-{TRACE}-{PARENT}-02-more")
    assert later.header == f"00-{TRACE}-{PARENT}-00"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "x" * 10_000,
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"{HEADER}-more",
        f"{HEADER}\n",
        f"01-{TRACE}-{PARENT}-01-{'x' * 401}",
        f" {HEADER}",
    ],
)
def test_what_is_none_is_ignored(text):
    assert parse_traceparent(text) is None


@given(st.text(max_size=120))
@example(HEADER)
def test_what_is_passed_on_is_bounded_whatever_came(text):
    place = parse_traceparent(text)
    if place is not None:
        assert len(place.header) == 55
        assert parse_traceparent(place.header) == place


def test_a_child_is_the_same_for_the_same_and_stays_in_the_trace():
    place = parse_traceparent(HEADER)
    assert place.child("a") == place.child("a") != place.child("b")
    assert place.child("a").trace_id == TRACE
    assert parse_traceparent(new_root("x").header) is not None
    assert new_root("x") != new_root("y")


def test_a_span_never_ends_before_it_began():
    place = new_root("x")
    document = span(place, "n", parent=None, began=5, ended=4, attributes={"a": None, "b": "c"})
    assert document["startTimeUnixNano"] == document["endTimeUnixNano"] == "5000000000"
    assert "parentSpanId" not in document
    assert attributes(document) == {"b": "c"}


def traces(endpoint):
    return Traces(endpoint, "test", lambda: 2.0, iter("abcdef").__next__)


def test_without_an_endpoint_a_context_is_passed_on_and_none_is_made():
    assert traces(None).contexts(None) == (None, None)
    above, place = traces(None).contexts(HEADER)
    assert above == place == parse_traceparent(HEADER)


def test_spans_are_sent_below_the_callers_or_as_a_root():
    with Collector() as collector:
        sender = traces(collector.url)
        above, place = sender.contexts(HEADER)
        sender.requested("GET /session", above, place, 1.0, {"usher.app": "x"}, failed=False)
        above, root = sender.contexts("nonsense")
        sender.requested("GET /session", above, root, 1.0, {}, failed=True)
        below, second = collector.spans
    assert (below["traceId"], below["parentSpanId"]) == (TRACE, PARENT)
    assert below["spanId"] == place.span_id
    assert "parentSpanId" not in second
    assert second["traceId"] != TRACE
    assert second["status"] == {"code": 2}


def test_what_its_caller_does_not_sample_is_passed_on_and_not_sent():
    with Collector() as collector:
        sender = traces(collector.url)
        above, place = sender.contexts(HEADER[:-2] + "00")
        sender.requested("GET /session", above, place, 1.0, {}, failed=False)
        assert place.header.endswith("-00")
        assert collector.spans == []


def test_a_collector_that_is_away_fails_nothing(caplog, monkeypatch):
    logger = logging.Logger("usher.traces")  # other tests of this process set the shared one up
    logger.addHandler(caplog.handler)
    monkeypatch.setattr("chalicelib.traces._log", logger)
    monkeypatch.setattr(logging.root.manager, "disable", 0)
    sender = traces("http://127.0.0.1:1")
    above, place = sender.contexts(HEADER)
    sender.requested("GET /session", above, place, 1.0, {}, failed=False)
    assert "a span was not taken" in caplog.text


@pytest.mark.parametrize("url", ["ftp://x", "x", "http://user:secret@x", "http://x?key=1"])
def test_an_endpoint_is_a_url_without_secrets(url):
    with pytest.raises(ConfigurationError, match="TRACES_ENDPOINT"):
        load_config({"STAGE": "local", "TRACES_ENDPOINT": url})


def test_nothing_of_it_is_imported_at_a_cold_start():
    found = modules_after("import app; from chalicelib.wiring import services; services().sessions")
    assert not {name for name in found if "traces" in name or "opentelemetry" in name}
    assert "chalicelib.traces" in sys.modules  # the name that is looked for
