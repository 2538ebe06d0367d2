import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract import repeating
from chalicelib.contract.jobs import (
    EXIT_INVALID,
    EXIT_NOT_RUN,
    EXIT_TIMED_OUT,
    MAX_MESSAGE_CHARACTERS,
    MAX_RESULT_BYTES,
    Outcome,
)
from chalicelib.jobs.requests import parse_finish, parse_progress
from usher.child_messages import (
    MAX_LINE_BYTES,
    End,
    LineDecoder,
    Progress,
    UnfitResultError,
    check_result,
    end_line,
    progress_line,
    progress_of,
)
from usher.ending import Memory, Seen, Stop, decide_ending
from usher.protocol import (
    Ending,
    SettingsError,
    StartPermit,
    Usage,
    finish_body,
    read_permit,
    read_settings,
    refusal,
)
from usher.repeating import Verdict, judge, pause_seconds

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NICE_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NICE_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NICE_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NICE_TEXT, inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.one_of(
    st.builds(progress_of, st.none() | st.floats(0, 1), NICE_TEXT),
    st.builds(End, st.sampled_from(Outcome), NICE_TEXT.filter(lambda t: len(t) < 400), NICE_JSON),
)


def line_of(message: Progress | End) -> bytes:
    return progress_line(message) if isinstance(message, Progress) else end_line(message)


# Messages of the child


@given(st.lists(MESSAGES), st.lists(st.integers(1, 200)))
def test_messages_arrive_whole_however_the_pipe_cuts_them(messages, cuts):
    data = b"".join(map(line_of, messages))
    decoder, received = LineDecoder(), []
    for cut in [*cuts, len(data)]:
        received += decoder.receive(data[:cut])
        data = data[cut:]
    assert received == messages


@given(st.lists(st.binary(max_size=300)))
def test_nonsense_is_skipped_and_what_follows_is_parsed(pieces):
    decoder = LineDecoder()
    for piece in pieces:
        decoder.receive(piece)
    decoder.receive(b"\n")
    assert decoder.receive(end_line(End(Outcome.SUCCEEDED, result=1))) == [
        End(Outcome.SUCCEEDED, result=1)
    ]


def test_a_line_that_is_too_long_is_not_kept():
    decoder = LineDecoder()
    for _ in range(40):
        assert decoder.receive(b"x" * 10_000) == []
    assert len(decoder._kept) <= MAX_LINE_BYTES
    assert decoder.receive(b"\n" + progress_line(Progress(0.5, "on"))) == [Progress(0.5, "on")]


@given(st.none() | st.floats() | st.text() | st.integers(), st.text() | st.none() | st.integers())
def test_progress_is_within_bounds_whatever_the_job_says(fraction, message):
    progress = progress_of(fraction, message)
    assert progress.fraction is None or 0 <= progress.fraction <= 1
    assert len(progress.message) <= MAX_MESSAGE_CHARACTERS
    body = {"process": "0" * 32, "fraction": progress.fraction, "message": progress.message}
    assert parse_progress(body)[1:] == (progress.fraction, progress.message)


@given(JSON)
def test_a_result_that_passes_arrives_as_it_was(result):
    try:
        check_result(result)
    except UnfitResultError:
        return  # half a surrogate pair: UTF-8 cannot encode it
    (end,) = LineDecoder().receive(end_line(End(Outcome.SUCCEEDED, result=result)))
    assert end.result == result


@pytest.mark.parametrize("character", ["x", "é", "\n", "😀"])
def test_the_largest_result_passes_and_one_more_does_not(character):
    size = len(json.dumps(character, ensure_ascii=False).encode()) - 2
    most = character * ((MAX_RESULT_BYTES - 2) // size)
    check_result(most)
    (end,) = LineDecoder().receive(end_line(End(Outcome.SUCCEEDED, result=most)))
    assert end.result == most
    with pytest.raises(UnfitResultError, match="store it elsewhere"):
        check_result(most + character)


@pytest.mark.parametrize("result", [math.nan, {1, 2}, object(), b"bytes", {(1, 2): 3}])
def test_a_result_that_is_not_json_is_told(result):
    with pytest.raises(UnfitResultError, match="the result is not JSON"):
        check_result(result)


# The end


SEEN = st.builds(
    Seen,
    status=st.integers(-64, 255),
    end=st.none() | st.builds(End, st.sampled_from(Outcome), st.text(max_size=900), NICE_JSON),
    stop=st.none() | st.sampled_from(Stop),
    end_came_first=st.booleans(),
    timeout_seconds=st.floats(1, 1e6),
    memory=st.builds(Memory, st.none() | st.integers(16, 1000), st.booleans(), st.booleans()),
)


@given(SEEN)
def test_every_end_is_one_that_the_dispatcher_takes(seen):
    ending = decide_ending(seen)
    told = parse_finish(finish_body("0" * 32, ending, Usage(1, 2, 3)))
    assert told.outcome is ending.outcome
    assert ending.exit_code != EXIT_NOT_RUN
    assert (ending.result is None) or ending.outcome is Outcome.SUCCEEDED


@given(SEEN)
def test_success_is_exit_code_0_without_being_stopped(seen):
    if decide_ending(seen).outcome is Outcome.SUCCEEDED:
        assert seen.status == 0
        assert seen.stop is None or seen.end_came_first


def seen(status=0, end=None, stop=None, memory=None, *, first=False):
    return Seen(status, end, stop, first, 9, memory or Memory())


DONE = End(Outcome.SUCCEEDED, result=7)


@pytest.mark.parametrize(
    ("what", "ending"),
    [
        (seen(end=DONE), Ending(Outcome.SUCCEEDED, 0, "", 7)),
        (seen(), Ending(Outcome.SUCCEEDED, 0, "it exited with 0, without a result")),
        (seen(3), Ending(Outcome.FAILED, 3, "it exited with 3")),
        (seen(1, End(Outcome.FAILED, "KeyError: 'a'")), Ending(Outcome.FAILED, 1, "KeyError: 'a'")),
        (seen(65, End(Outcome.INVALID, "no")), Ending(Outcome.INVALID, EXIT_INVALID, "no")),
        (seen(-9), Ending(Outcome.FAILED, 137, "it was ended by SIGKILL")),
        (seen(-40), Ending(Outcome.FAILED, 168, "it was ended by signal 40")),
        (
            seen(-9, memory=Memory(64, near_limit=True)),
            Ending(
                Outcome.FAILED,
                137,
                "OutOfMemoryError: Container killed due to memory usage (its limit is 64 MiB)",
            ),
        ),
        (
            seen(143, stop=Stop.ASKED),
            Ending(Outcome.KILLED, 143, "it was told to stop by a SIGTERM"),
        ),
        (
            seen(0, DONE, Stop.ASKED),
            Ending(Outcome.KILLED, 143, "it was told to stop by a SIGTERM"),
        ),
        (seen(0, DONE, Stop.ASKED, first=True), Ending(Outcome.SUCCEEDED, 0, "", 7)),
        (
            seen(-9, DONE, Stop.TIME_UP, first=True),
            Ending(Outcome.TIMED_OUT, EXIT_TIMED_OUT, "it was still running after 9 s"),
        ),
    ],
)
def test_ends(what, ending):
    assert decide_ending(what) == ending


# Answers of the dispatcher


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.ACCEPTED),
        (204, Verdict.ACCEPTED),
        (302, Verdict.REPEAT),
        (400, Verdict.NEVER),
        (404, Verdict.NEVER),
        (408, Verdict.REPEAT),
        (425, Verdict.REPEAT),
        (429, Verdict.REPEAT),
        (500, Verdict.REPEAT),
        (503, Verdict.REPEAT),
    ],
)
def test_answers_are_final_or_worth_repeating(status, verdict):
    assert judge(status) is verdict


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_and_are_bounded(failures, jitter):
    assert 0.1 <= pause_seconds(failures, jitter) <= 5
    assert pause_seconds(failures, jitter) <= pause_seconds(failures + 1, jitter)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_only_leave_is_leave(body):
    permit = read_permit(body)
    assert permit is None or permit.timeout_seconds > 0


def test_leave_is_read():
    body = b'{"job": "echo", "parameters": {"a": 1}, "timeoutSeconds": 30, "new": 1}'
    assert read_permit(body) == StartPermit("echo", {"a": 1}, 30.0)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'{"job": "echo"}', b'{"job": "echo", "timeoutSeconds": true}'],
)
def test_anything_else_is_not(body):
    assert read_permit(body) is None


def test_a_refusal_is_told_in_its_own_words():
    body = b'{"error": {"code": "conflict", "message": "it has ended"}}'
    assert refusal(409, body) == "409 conflict: it has ended"
    assert refusal(502, b"<html>") == "502"


GIVEN = {
    "INVOCATION_ID": "5e1f",
    "INVOCATION_ATTEMPT": "2",
    "INVOCATION_KEY": "k",
    "INVOCATION_URL": "http://127.0.0.1:1/invocations/5e1f/",
    "JOB_NAME": "echo",
    "JOB_REVISION": "7",
}


def test_the_environment_is_read():
    settings = read_settings(GIVEN)
    assert settings.attempt == 2
    assert settings.url == "http://127.0.0.1:1/invocations/5e1f"


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_what_is_missing_is_named(name):
    with pytest.raises(SettingsError, match=name):
        read_settings({**GIVEN, name: ""})


def test_an_attempt_is_a_number():
    with pytest.raises(SettingsError, match="INVOCATION_ATTEMPT is no number"):
        read_settings({**GIVEN, "INVOCATION_ATTEMPT": "one"})


def test_containers_and_clients_repeat_the_same_answers():
    """The rule stands twice, as a client's process imports nothing of `chalicelib`."""
    for status in range(100, 600):
        assert judge(status).value == repeating.judge(status).value
