"""Every call of DynamoDB on every path of a request is throttled, with each of its real codes.

Each code is one that AWS documents for a write of one item, a read, or a transaction; see
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
"""

from collections.abc import Callable, Iterator

import pytest
from botocore.exceptions import ClientError

from chalicelib.api.http import _of_aws
from chalicelib.contract.jobs import Outcome
from chalicelib.errors import UsherError
from chalicelib.jobs.model import State as JobState
from chalicelib.sessions.model import Reason
from chalicelib.wiring import Services
from tests.integration.job_lab import JobLab, check_jobs
from tests.integration.lab import Lab, check_invariants
from tests.integration.wire import Fate, Point

APPS = """
[limits]
total = 9
[apps.chat]
image = "any"
[apps.warm]
image = "any"
pool = {minimum = 1, maximum = 3}
"""
ALWAYS = (Fate.THROTTLED, Fate.OVER_CAPACITY, Fate.OVER_LIMIT)
ONCE = (Fate.CONFLICTS, Fate.THROTTLED_ONCE)
READS = ("dynamodb.GetItem", "dynamodb.Query", "dynamodb.BatchGetItem")
"""Transactions only block writes."""
COMES_BACK = {429, 503}
Prepared = Callable[[Services], object]


def dispatched(lab: Lab, app: str = "chat", key: str | None = None) -> str:
    services = lab.process()
    found = services.sessions.service.dispatch(lab.request(app, "me", key))
    lab.send_all(services)
    lab.deliver_events(services)
    return found.id


def warm(lab: Lab) -> None:
    services = lab.process()
    lab.sweep(services)
    lab.send_all(services)
    lab.deliver_events(services)
    lab.indexes_catch_up()


def cold(lab: Lab) -> Prepared:
    return lambda services: services.sessions.service.dispatch(lab.request("chat", "me"))


def cold_with_a_key(lab: Lab) -> Prepared:
    return lambda services: services.sessions.service.dispatch(lab.request("chat", "me", "key"))


def warm_claim(lab: Lab) -> Prepared:
    warm(lab)
    return lambda services: services.sessions.service.dispatch(lab.request("warm", "me"))


def repeated_key(lab: Lab) -> Prepared:
    dispatched(lab, key="key")
    return lambda services: services.sessions.service.dispatch(lab.request("chat", "me", "key"))


def stop(lab: Lab) -> Prepared:
    session_id = dispatched(lab)
    return lambda services: services.sessions.service.stop(session_id, Reason.STOPPED, "asked")


def callback(lab: Lab) -> Prepared:
    session_id = dispatched(lab)
    container = lab.connect(session_id)
    return lambda services: lab.send_next(services, container) if container.unsent else None


def invoke(lab: JobLab) -> Prepared:
    def act(services: Services) -> object:
        invocations = services.jobs.invocations
        draft = invocations.draft(
            job="report", owner="me", parameters=None, callback_base_url="http://d"
        )
        return invocations.accept(draft)

    return act


def start_permit(lab: JobLab) -> Prepared:
    container = lab.job_of(lab.put(JobState.LAUNCHED))
    return lambda services: lab.ask(services, container)


def finish(lab: JobLab) -> Prepared:
    container = lab.job_of(lab.put(JobState.STARTED))
    lab.end(container, Outcome.SUCCEEDED)
    return lambda services: lab.report(services, container)


def kill(lab: JobLab) -> Prepared:
    invocation_id = lab.put(JobState.STARTED)
    return lambda services: services.jobs.invocations.kill(invocation_id, "asked")


OF_SESSIONS = [cold, cold_with_a_key, warm_claim, repeated_key, stop, callback]
OF_JOBS = [invoke, start_permit, finish, kill]


def status_of(act: Prepared, services: Services) -> int | None:
    """The status that the client gets, None where all went well."""
    try:
        act(services)
    except (UsherError, ClientError) as error:
        answer = error if isinstance(error, UsherError) else _of_aws(error)
        assert answer is not None
        return answer.status
    return None


def points(lab: Lab, begin: Callable[[], Prepared]) -> Iterator[tuple[str, Point]]:
    act = begin()
    services = lab.process()
    act(services)
    for number, call in enumerate(list(lab.wire.calls), 1):
        if call.startswith("dynamodb."):
            fates = (*ALWAYS, Fate.THROTTLED_ONCE)
            for fate in fates if call in READS else (*fates, Fate.CONFLICTS):
                yield f"call {number}, {call}, {fate.name}", Point(number, fate)


def throttle(lab: Lab, begin: Callable[[], Prepared], check: Callable[[], None]) -> None:
    for where, point in points(lab, begin):
        act = begin()
        services = lab.process()
        lab.wire.reset(point)
        status = status_of(act, services)
        assert lab.wire.struck
        lab.wire.reset(None)
        if point.fate in ONCE:
            assert status is None, f"{where}: {status}, though it had passed"
        assert status in {None, *COMES_BACK}, f"{where}: {status}"
        check()
        assert status_of(act, lab.process()) is None, f"{where}: it fails for ever"


@pytest.mark.parametrize("path", OF_SESSIONS, ids=lambda path: path.__name__)
def test_a_session_is_told_to_come_back_and_never_a_500(
    session_lab: Lab, path: Callable[[Lab], Prepared]
) -> None:
    def begin() -> Prepared:
        session_lab.fresh(APPS)
        return path(session_lab)

    throttle(session_lab, begin, lambda: check_invariants(session_lab))


@pytest.mark.parametrize("path", OF_JOBS, ids=lambda path: path.__name__)
def test_a_job_is_told_to_come_back_and_never_a_500(
    job_lab: JobLab, path: Callable[[JobLab], Prepared]
) -> None:
    def begin() -> Prepared:
        job_lab.begin()
        return path(job_lab)

    throttle(job_lab, begin, lambda: check_jobs(job_lab))
