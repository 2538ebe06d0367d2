"""The pure functions of the console's script, called in Node.js."""

import json
import subprocess
from typing import Any

from chalicelib.api.pages import FOLDER
from chalicelib.jobs import model as jobs
from chalicelib.sessions import model as sessions
from tests.needs import needs_node

PROGRAM = """
import { readFileSync } from "node:fs";
const text = await import(process.argv[1]);
const cases = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map(([name, ...given]) => {
  try {
    return text[name](...given);
  } catch (error) {
    return `error: ${error.message}`;
  }
})));
"""
NOW = 1_800_000_000_000
SCHEMA = {
    "type": "object",
    "required": ["name", "count"],
    "properties": {
        "name": {"type": "string"},
        "count": {"type": "integer"},
        "maybe": {"anyOf": [{"type": "number"}, {"type": "null"}], "title": "May be"},
        "tone": {"enum": ["blue", 7]},
        "parts": {"type": "array"},
        "loud": {"type": "boolean"},
    },
}


def called(*cases: list[Any]) -> list[Any]:
    done = subprocess.run(
        ["node", "--input-type=module", "-e", PROGRAM, f"{FOLDER}/text.js"],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


@needs_node
def test_expressions_in_words():
    words = {
        "rate(1 hour)": "every hour",
        "rate(2 days)": "every 2 days",
        "cron(0 9 ? * MON-FRI *)": "at 09:00 on Monday to Friday",
        "cron(30 8,20 * * ? *)": "at 08:30 and 20:30 every day",
        "cron(0/15 * * * ? *)": "every 15 minutes every day",
        "cron(5 * * * ? *)": "every hour at minute 5 every day",
        "cron(0/15 8-18 ? * 2#1 *)": (
            "every 15 minutes in the hours 8 to 18 on the first Monday of the month"
        ),
        "cron(0 12 L 1,7 ? *)": "at 12:00 on the last day of the month in January and July",
        "cron(0 12 ? * 6L 2027)": "at 12:00 on the last Friday of the month of 2027",
        "cron(0 0 15W JAN ? *)": (
            "at 00:00 on the weekday nearest to day 15 of the month in January"
        ),
        "something else": "something else",
    }
    assert called(*[["inWords", text] for text in words]) == list(words.values())


@needs_node
def test_durations_and_distances_are_never_negative():
    cases = {
        ("duration", -3): "0 s",
        ("duration", 0.44): "0.4 s",
        ("duration", 184): "3 min 4 s",
        ("duration", 190_800): "2 d 5 h",
        ("duration", 59.7): "1 min",
        ("relative", NOW - 500, NOW): "now",
        ("relative", NOW + 900, NOW): "now",
        ("relative", NOW - 200_000, NOW): "3 min ago",
        ("relative", NOW + 7_300_000, NOW): "in 2 h",
        ("absolute", NOW, "Europe/Madrid"): "2027-01-15 09:00:00 CET",
    }
    assert called(*[list(case) for case in cases]) == list(cases.values())


@needs_node
def test_whole_numbers_are_shown_as_they_were_written():
    program = PROGRAM.replace("text[name](...given)", "text.showJson(text.parseJson(given[0]))")
    texts = [
        '{"a": 9007199254740993, "b": [1, -18446744073709551616, 0.5, 1e3]}',
        '{"text": "9007199254740993", "sad": "\\"12345678901234567890"}',
        '{"\\ue000whole": "<img>"}',
        "[]",
    ]
    done = subprocess.run(
        ["node", "--input-type=module", "-e", program, f"{FOLDER}/text.js"],
        input=json.dumps([["", text] for text in texts]),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    shown = json.loads(done.stdout)
    assert [json.loads(text) for text in shown] == [json.loads(text) for text in texts]
    assert "9007199254740993" in shown[0]
    assert "-18446744073709551616" in shown[0]


@needs_node
def test_a_form_is_made_from_a_schema_and_gives_json_with_numbers_as_typed():
    [fields, nothing, free] = called(
        ["fieldsOf", SCHEMA], ["fieldsOf", None], ["fieldsOf", {"type": "object"}]
    )
    assert nothing is None or nothing is False
    assert free is None
    kinds = {field["name"]: (field["kind"], field["isRequired"]) for field in fields}
    assert kinds == {
        "name": ("string", True),
        "count": ("integer", True),
        "maybe": ("number", False),
        "tone": ("choice", False),
        "parts": ("json", False),
        "loud": ("boolean", False),
    }
    whole = {"name": 'a "b"', "count": "9007199254740993", "tone": '"blue"', "parts": "[1]"}
    cases: list[tuple[dict[str, str], str]] = [
        (whole, '{"name":"a \\"b\\"","count":9007199254740993,"tone":"blue","parts":[1]}'),
        ({"name": "", "count": "1"}, '{"name":"","count":1}'),
        ({"name": "a"}, "error: count: a value is needed"),
        ({"name": "a", "count": "1.5"}, "error: count: a whole number"),
        ({"name": "a", "count": "1", "maybe": "x"}, "error: May be: a number"),
        ({"name": "a", "count": "1", "parts": "[1"}, 'error: parts: JSON, like [1, 2] or "text"'),
    ]
    assert called(*[["parametersOf", fields, texts] for texts, _ in cases]) == [
        wanted for _, wanted in cases
    ]


@needs_node
def test_what_is_wrong_comes_with_the_worst_first():
    sweep = {"finishedAt": "2027-01-15T08:00:00Z", "skipped": 0}
    well = {
        "at": "2027-01-15T08:01:00Z",
        "sweep": sweep,
        "deadLetters": {"jobs": 0},
        "jobs": {"oldestWaitingSince": "2027-01-15T08:00:30Z"},
    }
    ill = {
        "at": "2027-01-15T09:00:00Z",
        "sweep": sweep | {"skipped": 2},
        "alarms": [{"name": "x", "since": "2027-01-15T08:59:00Z", "reason": "Threshold"}],
        "orphans": 2,
        "hosts": {"leaving": ["0a"]},
        "deadLetters": {"jobs": 3},
        "jobs": {"oldestWaitingSince": "2027-01-15T08:30:00Z"},
    }
    app = {"name": "chat", "revision": 3, "state": "proven"}
    refused = app | {"state": "refused", "failures": 5, "reason": "exit 1"}
    nothing, everything, young, unknown = called(
        ["problemsOf", well, [app]],
        ["problemsOf", ill, [app, refused]],
        ["problemsOf", well | {"sweep": None}, []],
        ["problemsOf", well | {"alarms": None, "hosts": None}, []],
    )
    assert nothing == []
    assert [one["text"].partition(" ")[0] for one in unknown] == ["CloudWatch", "ECS"]
    starts = [
        "chat: 5 starts", "The alarm x", "3 messages", "The last pass", "The last pass",
        "The last sweep stopped 2", "A host takes no more", "A job waits",
    ]  # fmt: skip
    for one, start in zip(everything, starts, strict=True):
        assert one["text"].startswith(start)
    assert [one["text"] for one in young] == ["No pass of the sweep has ended yet."]


@needs_node
def test_a_latency_below_a_second_is_told_in_milliseconds():
    times = {0: "0 ms", 0.0204: "20 ms", 0.9994: "999 ms", 1: "1.0 s", 12: "12 s", -1: "0 ms"}
    assert called(*(["latency", seconds] for seconds in times)) == list(times.values())


PLAIN = {
    *("SCHEDULED", "ACCEPTED", "QUEUED", "EXPIRED", "SKIPPED", "expired", "skipped"),
    *("STOPPING", "ENDED", "disconnected", "never_connected", "stopped", "drained"),
}
GOOD = {"FINISHED", "ACTIVE", "WARM", "succeeded"}
BUSY = {"LAUNCHING", "LAUNCHED", "STARTED", "STARTING", "RESERVED"}


@needs_node
def test_no_state_has_the_colour_of_another_kind():
    states = [*jobs.State, *jobs.Reason, *sessions.State, *sessions.Reason]
    tones = dict(zip(states, called(*(["toneOf", state] for state in states)), strict=True))
    for wanted, some in (("plain", PLAIN), ("good", GOOD), ("busy", BUSY)):
        assert {state for state, tone in tones.items() if tone == wanted} == some
    assert set(tones.values()) == {"plain", "good", "busy", "bad"}
