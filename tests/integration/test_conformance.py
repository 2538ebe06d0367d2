"""Statements of docs/verified.md on the embedded cloud: the whole suite, functions as in Lambda."""

from conformance.local_target import LocalTarget
from conformance.promises import PROMISES, Outcome, run
from tests.needs import needs_redis

NOT_HERE = {"wss", "alarms"}


@needs_redis
def test_every_promise_is_kept_here_but_those_that_say_why_not():
    said = []
    with LocalTarget() as target:
        results = run(target, PROMISES, said.append)
    print("\n".join(said))
    found = {result.name: result.outcome for result in results}
    expected = dict.fromkeys(found, Outcome.KEPT) | dict.fromkeys(NOT_HERE, Outcome.NOT_HERE)
    assert found == expected, "\n".join(said)
