import argparse
import io
import json
import os
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.feed import command as feed
from local.feed.command import put_lines, records_a_second
from local.feed.entries import BadLine, Entry
from local.feed.input import open_lines, stdin_lines
from local.feed.progress import Progress, Totals, summary
from local.feed.sink import FeedError, KinesisSink, find_endpoint, find_region
from local.leftovers import RunFolder, runs_folder


class RefusingSink:
    """Accepts or refuses entries by the script, one by one, and accepts all after its end."""

    def __init__(self, script: Sequence[bool] = ()) -> None:
        self.script = list(script)
        self.taken: list[Entry] = []
        self.batches: list[int] = []

    def put(self, entries: Sequence[Entry]) -> list[bool]:
        self.batches.append(len(entries))
        answers = [self.script.pop(0) if self.script else True for _ in entries]
        self.taken += [
            entry for entry, was_taken in zip(entries, answers, strict=True) if was_taken
        ]
        return answers


class Unhurried(threading.Event):
    """A stop event whose waits return at once; records their timeouts in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return self.is_set()


def lines_of(keys: Sequence[str]) -> list[bytes]:
    return [json.dumps({"id": key, "n": n}).encode() for n, key in enumerate(keys)]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from("abcdefgh"), max_size=80),
    st.lists(st.booleans(), max_size=120),
    st.sampled_from([0.0, 30.0, 100.0, 100_000.0]),
)
def test_refused_entries_are_put_again_and_never_overtaken_by_their_own_key(keys, script, rate):
    sink = RefusingSink(script)
    totals = put_lines(lines_of(keys), sink, stop=Unhurried(), rate=rate)
    assert totals.records == len(keys)
    assert sorted(entry.number for entry in sink.taken) == list(range(1, len(keys) + 1))
    for key in set(keys):
        numbers = [entry.number for entry in sink.taken if entry.key == key]
        assert numbers == sorted(numbers)


def test_bad_lines_are_counted_from_one_and_left_out():
    sink = RefusingSink()
    totals = put_lines([b'{"id": 1}', b"", b"oops", b'{"id": 2}'], sink, stop=Unhurried())
    assert [entry.key for entry in sink.taken] == ["1", "2"]
    assert [bad.number for bad in totals.bad] == [3]
    assert totals.data_bytes == 2 * len(b'{"id": 1}')


def test_pauses_grow_while_nothing_is_taken_and_end_with_the_first_success():
    stop = Unhurried()
    put_lines(lines_of("a"), RefusingSink([False] * 8), stop=stop)
    assert stop.waits[1:] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    stop.waits.clear()
    put_lines(lines_of("ab"), RefusingSink([False, True]), stop=stop)
    assert stop.waits[1:] == [0.05]


def test_a_rate_cuts_small_batches_and_waits_for_each():
    sink, stop = RefusingSink(), Unhurried()
    put_lines(lines_of([str(n) for n in range(100)]), sink, stop=stop, rate=200)
    assert sink.batches == [10] * 10
    assert stop.waits[-1] == pytest.approx(90 / 200, abs=0.2)
    slow = RefusingSink()
    put_lines(lines_of("abc"), slow, stop=Unhurried(), rate=0.5)
    assert slow.batches == [1, 1, 1]


def test_without_a_rate_batches_are_full():
    sink = RefusingSink()
    put_lines(lines_of([str(n) for n in range(1200)]), sink, stop=Unhurried())
    assert sink.batches == [500, 500, 200]


def test_a_pause_in_the_lines_flushes_what_was_read():
    sink = RefusingSink()
    seen = []

    def lines():
        yield b'{"id": 1}'
        yield None
        seen.append(len(sink.taken))
        yield b'{"id": 2}'

    put_lines(lines(), sink, stop=Unhurried())
    assert seen == [1]
    assert len(sink.taken) == 2


def test_stops_when_told_even_in_an_endless_source():
    stop = threading.Event()
    sink = RefusingSink()

    def endless():
        number = 0
        while True:
            number += 1
            if number > 5000:
                stop.set()
            yield json.dumps({"id": number}).encode()

    totals = put_lines(endless(), sink, stop=stop)
    assert totals.records == len(sink.taken) <= 5000


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    feed.add_arguments(parser)
    return parser.parse_args(words)


def test_a_dry_run_checks_a_file_and_puts_nothing(tmp_path, capsys):
    file = tmp_path / "some.jsonl"
    file.write_bytes(b'{"id": 1}\n\n{"id": 2}\n')
    assert feed.run(arguments(str(file), "--dry-run")) == 0
    assert "checked 2 records" in capsys.readouterr().err
    file.write_bytes(b'{"id": 1}\nnonsense\n')
    assert feed.run(arguments(str(file), "--dry-run")) == 1
    assert "line 2: no JSON" in capsys.readouterr().err


def test_what_cannot_be_done_is_one_line_and_exit_code_2(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    file = tmp_path / "some.jsonl"
    assert feed.run(arguments(str(file))) == 2
    assert capsys.readouterr().err == f"feed: cannot read {file}: No such file or directory\n"
    file.write_text("{}\n")
    assert feed.run(arguments(str(file))) == 2
    assert "no local cloud is running" in capsys.readouterr().err
    assert feed.run(arguments(str(file), "--endpoint", "http://127.0.0.1:9")) == 2
    err = capsys.readouterr().err
    assert err.startswith("feed: cannot reach the stream")
    assert err.count("\n") == 1


def test_finds_the_running_cloud(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    run = RunFolder.create(runs_folder())
    with pytest.raises(FeedError, match="no local cloud"):
        find_endpoint(None)  # it runs, and does not answer yet
    run.tell(aws="http://127.0.0.1:5001")
    assert find_endpoint(None) == "http://127.0.0.1:5001"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:5002")
    assert find_endpoint(None) == "http://127.0.0.1:5002"
    assert find_endpoint("http://127.0.0.1:5003") == "http://127.0.0.1:5003"
    run.tell(aws="http://127.0.0.1:5001", region="eu-west-1")
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert find_region("http://127.0.0.1:5001") == "eu-west-1"
    assert find_region("http://127.0.0.1:5003") == "us-west-2"
    run.remove()


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "many"])
def test_a_rate_is_a_finite_number(text):
    with pytest.raises(ValueError, match=r"."):
        records_a_second(text)


def test_a_pipe_gives_lines_and_says_when_there_is_nothing_yet():
    reader, writer = os.pipe()
    lines = stdin_lines(reader, threading.Event())
    assert next(lines) is None
    os.write(writer, b'{"id": 1}\n{"id"')
    assert next(lines) == b'{"id": 1}'
    assert next(lines) is None
    os.write(writer, b": 2}")
    os.close(writer)
    assert [line for line in lines if line is not None] == [b'{"id": 2}']
    os.close(reader)


def test_the_demo_is_a_source_of_lines():
    with open_lines("demo", threading.Event()) as lines:
        assert json.loads(next(lines))["status"] == "new"


class Answering:
    """A client of Kinesis that answers once, as botocore would."""

    def __init__(self, answer) -> None:
        self.answer = answer

    def put_records(self, **_: object):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def client_error(code: str) -> Exception:
    from botocore.exceptions import ClientError

    return ClientError({"Error": {"Code": code, "Message": "no"}}, "PutRecords")


def test_kinesis_says_of_each_entry_whether_it_was_taken():
    answer = {
        "FailedRecordCount": 1,
        "Records": [
            {"SequenceNumber": "1", "ShardId": "s"},
            {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"},
        ],
    }
    batch = [Entry(1, "a", b"{}"), Entry(2, "b", b"{}")]
    assert KinesisSink(Answering(answer), "updates").put(batch) == [True, False]
    throttled = Answering(client_error("ProvisionedThroughputExceededException"))
    assert KinesisSink(throttled, "updates").put(batch) == [False, False]
    with pytest.raises(FeedError, match="there is no stream updates"):
        KinesisSink(Answering(client_error("ResourceNotFoundException")), "updates").put(batch)
    with pytest.raises(FeedError, match="refuses"):
        KinesisSink(Answering(client_error("AccessDeniedException")), "updates").put(batch)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_rewrites_its_line_on_a_terminal(monkeypatch):
    monkeypatch.setattr("local.feed.progress.EVERY_SECONDS_ON_TERMINAL", 0.0)
    terminal = Terminal()
    progress = Progress(terminal)
    progress.show(Totals(records=1500, seconds=3.0, refused=2))
    progress.finish()
    assert terminal.getvalue() == "\r\x1b[K1,500 records, 500 a second, 2 put again\r\x1b[K"


def test_progress_is_sparse_in_a_log():
    log = io.StringIO()
    progress = Progress(log)
    progress.show(Totals(records=1))
    progress.finish()
    assert log.getvalue() == ""


def test_the_summary_names_at_most_twenty_bad_lines():
    bad = [BadLine(number, "no JSON") for number in range(1, 31)]
    lines = summary(Totals(records=10, seconds=2.0, bad=bad), dry_run=False, stopped=True)
    assert lines[0] == "feed: line 1: no JSON"
    assert lines[-2] == "feed: 10 more bad lines"
    assert lines[-1] == (
        "feed: stopped, put 10 records (0.0 MB) in 2.0 s, 5 a second, 30 bad lines left out"
    )
