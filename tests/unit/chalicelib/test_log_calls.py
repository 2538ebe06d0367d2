"""Each call that logs something about one record gives the record's id as a field."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.logs import FIELDS, fields_in

ROOT = Path(__file__).parents[3]
LOGGERS = {"_log", "log", "_log_tasks"}
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
ABOUT_NO_RECORD = {
    ("chalicelib/wiring.py", "the table of sessions does not answer: %s"),
    ("chalicelib/api/overview.py", "CloudWatch does not say which alarms are open"),
    ("chalicelib/api/overview.py", "ECS does not say which hosts there are"),
    ("chalicelib/tasks/pages.py", "sweep: the tasks are listed anew"),
    ("chalicelib/tasks/reconciler.py", "sweep: another one has gone on"),
    ("chalicelib/tasks/reconciler.py", "sweep: its state is not to be had, so it begins anew"),
    ("chalicelib/tasks/reconciler.py", "sweep: %s cannot be looked through"),
    ("chalicelib/tasks/reconciler.py", "sweep: skipped %s %s"),
    ("chalicelib/tasks/reconciler.py", "sweep: its position cannot be written"),
    ("chalicelib/tasks/sweep_state.py", "the state of the sweep is forgotten: %s"),
    ("chalicelib/tasks/reconciler.py", "sweep: %s"),
    ("chalicelib/tasks/reconciler.py", "sweep: %s failed"),
    ("chalicelib/grading/judging.py", "left to the sweep"),
    ("chalicelib/sessions/catalog.py", "left out of the apps: %s"),
    ("chalicelib/sessions/catalog.py", "registered apps are left out: %s"),
    ("chalicelib/sessions/catalog.py", "which apps are registered is not known: %s"),
    ("chalicelib/tasks/queues.py", "it is not known what waits in %s: %s"),
    ("chalicelib/sessions/table.py", "transaction conflict: %s"),
    ("chalicelib/feed/relay.py", "the feed is filled from Kinesis, origin %s"),
    ("chalicelib/traces.py", "a span was not taken: %s"),
    ("chalicelib/jobs/clock.py", "the one-time schedule %s stays, and wakes nobody: %s"),
}


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """File, message and call of everything that is logged."""
    for path in sorted((ROOT / "chalicelib").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            name = node.func.value
            if isinstance(name, ast.Name) and name.id in LOGGERS and node.func.attr in LEVELS:
                message = node.args[0]
                assert isinstance(message, ast.Constant), f"{path}:{node.lineno}: no literal"
                yield str(path.relative_to(ROOT)), str(message.value), node


def test_every_call_says_what_it_is_about():
    found = list(calls())
    without = {
        (file, message)
        for file, message, call in found
        if not any(keyword.arg == "extra" for keyword in call.keywords)
    }
    assert len(found) > 25
    assert without == ABOUT_NO_RECORD


def fields_of(function: ast.AST) -> Iterator[str]:
    """Fields that the log calls of a function name, directly or by way of a variable."""
    nodes = list(ast.walk(function))
    given = [k.value for node in nodes if isinstance(node, ast.Call) for k in node.keywords
             if k.arg == "extra"]  # fmt: skip
    names = {value.id for value in given if isinstance(value, ast.Name)}
    given += [
        node.value
        for node in nodes
        if isinstance(node, ast.Assign) and names & {getattr(t, "id", "") for t in node.targets}
    ]
    for value in given:
        for found in ast.walk(value):
            if isinstance(found, ast.Dict):
                yield from (str(key.value) for key in found.keys if isinstance(key, ast.Constant))


def test_every_field_that_a_call_names_is_one():
    named = {
        field
        for path in (ROOT / "chalicelib").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
        for field in fields_of(node)
    }
    assert {"session", "schedule", "job", "app", "task"} <= named
    assert named <= set(FIELDS)


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ({"invocation": "5e1f", "comesDue": True}, {"invocation": "5e1f"}),
        ({"schedule": "weekly", "at": 5}, {"schedule": "weekly"}),
        ({"session": None, "tries": 1}, {}),
    ],
)
def test_a_line_about_a_message_has_the_ids_in_it(message, fields):
    assert fields_in(message) == fields
