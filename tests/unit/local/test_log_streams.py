"""A container's output is kept within bounds and returned as CloudWatch Logs does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.aws.logs.api import LogsApi, LogsError
from local.aws.logs.streams import MAX_EVENT_BYTES, Stream, groups, new_stream, streams
from local.hosts.kept_output import KeptOutput

GROUP, STREAM = "/usher/local/jobs", "report/job/0123"


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


def printed(root, *parts, segment_bytes=64, name=STREAM, seconds_between=1.0, close=True):
    """A stream to which these parts came, a second after each other."""
    clock = Clock()
    path = new_stream(root, GROUP, name)
    kept = KeptOutput(str(path), segment_bytes=segment_bytes, now=clock)
    for part in parts:
        kept.write(part)
        clock.now += seconds_between
    if close:
        kept.close()
    return Stream(root, GROUP, name, segment_bytes=segment_bytes)


def messages(page):
    return [event.message for event in page.events]


def test_lines_are_events_with_the_time_of_their_arrival(tmp_path):
    stream = printed(tmp_path, b"one\ntwo\n", b"thr", b"ee\n\nfour")
    page = stream.forward(0)
    assert [(event.at_ms, event.message) for event in page.events] == [
        (1_000_000, "one"),
        (1_000_000, "two"),
        (1_001_000, "three"),
        (1_002_000, "four"),
    ]
    assert stream.forward(page.end) == type(page)((), page.end, page.end)


def test_a_line_is_shown_when_it_has_arrived_as_a_whole(tmp_path):
    stream = printed(tmp_path, b"one\ntw", close=False)
    assert messages(stream.forward(0)) == ["one"]
    assert stream.forward(0).end == 4


def test_what_is_printed_beyond_the_bounds_is_left_out_and_said_so(tmp_path):
    lines = [f"line {n:04}\n".encode() for n in range(100)]  # 10 bytes each
    stream = printed(tmp_path, *lines)
    found = messages(stream.forward(0))
    assert found[:6] == [f"line {n:04}" for n in range(6)]
    gaps = [text for text in found if "did not keep" in text]
    assert len(gaps) == 1
    assert found[-1] == "line 0099"
    after = found[found.index(gaps[0]) + 1 :]
    assert after == [f"line {n:04}" for n in range(100 - len(after), 100)]
    kept = sorted(path.name.rpartition(".")[2] for path in tmp_path.rglob("*") if path.is_file())
    assert len([name for name in kept if name != "times"]) == 3


def test_a_reader_that_was_overtaken_goes_on_behind_the_gap(tmp_path):
    clock = Clock()
    kept = KeptOutput(str(new_stream(tmp_path, GROUP, STREAM)), segment_bytes=64, now=clock)
    for n in range(14):
        kept.write(f"line {n:04}\n".encode())
    stream = Stream(tmp_path, GROUP, STREAM, segment_bytes=64)
    place = stream.forward(0, limit=8).end
    for n in range(14, 100):
        kept.write(f"line {n:04}\n".encode())
    kept.close()
    stream = Stream(tmp_path, GROUP, STREAM, segment_bytes=64)
    found = messages(stream.forward(place))
    assert "did not keep" in found[0]
    assert found[-1] == "line 0099"


@given(
    text=st.text(alphabet="ab\n", max_size=100).map(str.encode),
    cuts=st.lists(st.integers(0, 100), max_size=5).map(sorted),
    limit=st.integers(1, 7),
)
def test_pages_forward_and_backward_have_each_line_once(tmp_path_factory, text, cuts, limit):
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    stream = printed(tmp_path_factory.mktemp("s"), *parts, segment_bytes=1000)
    lines = [line for line in text.decode().split("\n") if line]
    place, forward = 0, []
    while page := stream.forward(place, limit):
        if not page.events:
            break
        forward += messages(page)
        place = page.end
    assert forward == lines
    place, backward = None, []
    while page := stream.backward(place, limit):
        if not page.events:
            break
        backward = messages(page) + backward
        place = page.start
    assert backward == lines


def test_a_line_without_end_is_cut(tmp_path):
    stream = printed(tmp_path, b"x" * (MAX_EVENT_BYTES + 5), segment_bytes=10**6)
    assert [len(text) for text in messages(stream.forward(0))] == [MAX_EVENT_BYTES, 5]


def test_what_is_not_text_is_shown_all_the_same(tmp_path):
    assert messages(printed(tmp_path, b"\xff\xfe ok\n").forward(0)) == ["\ufffd\ufffd ok"]


def test_a_page_has_at_most_a_mebibyte(tmp_path):
    stream = printed(tmp_path, b"x" * 99_999 + b"\n", *[b"y" * 99_999 + b"\n"] * 20,
                     segment_bytes=10**7)  # fmt: skip
    assert len(stream.forward(0).events) == 10


def test_streams_and_groups_are_listed_by_their_names(tmp_path):
    for name in ("a/job/1", "a/job/1.0", "b/job/2"):
        printed(tmp_path, b"x\n", name=name)
    assert groups(tmp_path) == [GROUP]
    assert streams(tmp_path, GROUP) == ["a/job/1", "a/job/1.0", "b/job/2"]
    assert messages(Stream(tmp_path, GROUP, "a/job/1").forward(0)) == ["x"]


@pytest.fixture
def api(tmp_path):
    printed(tmp_path, b"one\n", b"two\n", b"three\n", segment_bytes=1000)
    return LogsApi(tmp_path, "us-east-1", "123456789012")


def get(api, **more):
    return api.call("GetLogEvents", {"logGroupName": GROUP, "logStreamName": STREAM, **more})


def test_the_token_stays_the_same_at_the_end(api):
    first = get(api, startFromHead=True, limit=2)
    assert [event["message"] for event in first["events"]] == ["one", "two"]
    second = get(api, nextToken=first["nextForwardToken"])
    assert [event["message"] for event in second["events"]] == ["three"]
    third = get(api, nextToken=second["nextForwardToken"])
    assert third["events"] == []
    assert third["nextForwardToken"] == second["nextForwardToken"]
    back = get(api, nextToken=second["nextBackwardToken"])
    assert [event["message"] for event in back["events"]] == ["one", "two"]


def test_without_a_token_the_newest_come(api):
    assert [e["message"] for e in get(api, limit=2)["events"]] == ["two", "three"]


def test_events_are_found_by_words_and_time(api):
    def found(**more):
        return [
            event["message"]
            for event in api.call("FilterLogEvents", {"logGroupName": GROUP, **more})["events"]
        ]

    assert found(filterPattern='"o"') == ["one", "two"]
    assert found(startTime=1_001_000) == ["two", "three"]
    assert found(endTime=1_001_000) == ["one"]
    assert found(logStreamNamePrefix="other") == []
    with pytest.raises(NotImplementedError):
        found(filterPattern="{ $.a = 1 }")


def test_filtered_events_come_page_by_page(api):
    seen, token = [], None
    while True:
        more = {"nextToken": token} if token else {}
        answer = api.call("FilterLogEvents", {"logGroupName": GROUP, "limit": 1, **more})
        seen += [event["message"] for event in answer["events"]]
        token = answer.get("nextToken")
        if token is None:
            break
    assert seen == ["one", "two", "three"]


def test_streams_are_described(api):
    answer = api.call("DescribeLogStreams", {"logGroupName": GROUP, "logStreamNamePrefix": "rep"})
    (stream,) = answer["logStreams"]
    assert stream["logStreamName"] == STREAM
    assert stream["lastEventTimestamp"] == 1_002_000


@pytest.mark.parametrize(
    "request_", [{"logStreamName": "none"}, {"nextToken": "x"}, {"limit": 10_001}]
)
def test_what_aws_refuses_is_refused(api, request_):
    with pytest.raises(LogsError):
        get(api, **request_)
