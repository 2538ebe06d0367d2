"""The suite: the promises and their checks, in the order in which they run."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from conformance import answers, feeds, jobs, operations, sessions
from conformance.target import BrokenPromiseError, NotHereError, Session, Target


class Outcome(StrEnum):
    """The result of one check."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_HERE = "not here"


@dataclass(frozen=True)
class Promise:
    """One promise; `check` returns a short description of its observation."""

    name: str
    statement: str
    check: Callable[[Session], str]


@dataclass(frozen=True)
class Result:
    """One promise at one place."""

    name: str
    outcome: Outcome
    detail: str
    seconds: float
    facts: dict[str, str] = field(default_factory=dict)


def _promise(name: str, check: Callable[[Session], str]) -> Promise:
    return Promise(name, (check.__doc__ or "").strip().split("\n")[0], check)


PROMISES = (
    _promise("job_runs", jobs.job_runs),  # first: it deploys the job that other checks use
    _promise("documented_answers", answers.documented_answers),
    _promise("cold_session", sessions.cold_session),
    _promise("warm_session", sessions.warm_session),
    _promise("fargate_session", sessions.fargate_session),
    _promise("fargate_warm_session", sessions.fargate_warm_session),
    _promise("one_key", sessions.one_key),
    _promise("limits", sessions.limits),
    _promise("broken_image", sessions.broken_image),
    _promise("direct_feed", feeds.direct_feed),
    _promise("fan_out_feed", feeds.fan_out_feed),
    _promise("wss", feeds.wss),
    _promise("job_fails", jobs.job_fails),
    _promise("job_killed_and_again", jobs.job_killed_and_again),
    _promise("schedule_fires", jobs.schedule_fires),
    _promise("upgrade_and_rollback", sessions.upgrade_and_rollback),
    _promise("full_cluster", sessions.full_cluster),
    _promise("killed_host", sessions.killed_host),
    _promise("alarms", operations.alarms),
    _promise("orphans", operations.orphans),  # last: after everything
)


def run(target: Target, promises: Iterable[Promise], say: Callable[[str], None]) -> list[Result]:
    """Check the promises one after the other; after a broken one the next is checked too."""
    results = []
    for promise in promises:
        session, began = Session(target), time.monotonic()
        try:
            outcome, detail = Outcome.KEPT, promise.check(session)
        except NotHereError as error:
            outcome, detail = Outcome.NOT_HERE, str(error)
        except BrokenPromiseError as error:
            outcome, detail = Outcome.BROKEN, str(error)
        except Exception as error:  # noqa: BLE001 - any error is a result of this check
            outcome, detail = Outcome.BROKEN, repr(error)
        seconds = time.monotonic() - began
        results.append(Result(promise.name, outcome, detail, seconds, session.facts))
        say(f"{promise.name}: {outcome} ({seconds:.1f} s) {detail}")
    return results
