"""Sweeps alone launch or end every waiting invocation, without any message or event."""

from dataclasses import dataclass
from math import ceil

from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from chalicelib.jobs.model import Invocation, Priority, Reason
from chalicelib.jobs.policy import slots_for
from chalicelib.wiring import Services
from tests.integration.job_lab import JobLab, check_rest, run_to_their_ends

PAUSE_SECONDS = 61
SPARE_SWEEPS = 3
"""One launches the first, one sees the last end, one launches those that come due."""


@dataclass(frozen=True)
class Wish:
    priority: Priority
    later: int
    patience: int | None


WISHES = st.builds(
    Wish,
    st.sampled_from(Priority),
    st.sampled_from([0, 0, 100]),
    st.sampled_from([None, None, 150, 400]),
)


def ask(lab: JobLab, services: Services, wish: Wish) -> Invocation:
    now = lab.now()
    draft = services.jobs.invocations.draft(
        job="report",
        owner="me",
        parameters=None,
        callback_base_url="http://dispatcher",
        priority=wish.priority,
        at=now + wish.later if wish.later else None,
        not_after=wish.patience and now + wish.later + wish.patience,
    )
    return services.jobs.invocations.accept(draft)


def sweep_alone(lab: JobLab, services: Services) -> None:
    """Only the sweep runs; every message and every event is lost."""
    lab.now.move(PAUSE_SECONDS)
    lab.events()
    lab.wake_ups()
    run_to_their_ends(lab, services)
    assert "failed" not in lab.sweep(services)


def test_twenty_low_ones_behind_two_places_need_eleven_sweeps(job_lab: JobLab) -> None:
    """A sweep launches into two places: the number of sweeps depends on the number waiting."""
    job_lab.begin(capacity=3, kept=1)
    services = job_lab.process()
    for _ in range(20):
        ask(job_lab, services, Wish(Priority.LOW, 0, None))
    left = []
    for _ in range(11):
        sweep_alone(job_lab, services)
        left.append(sum(not i.has_ended for i in job_lab.invocations().values()))
    assert left == [*range(20, -1, -2)]
    check_rest(job_lab, kills=set())


@given(wishes=st.lists(WISHES, max_size=14), capacity=st.integers(1, 3), kept=st.integers(0, 1))
@examples(max_examples=20, suppress_health_check=list(HealthCheck))
def test_nothing_that_waits_is_forgotten(
    job_lab: JobLab, wishes: list[Wish], capacity: int, kept: int
) -> None:
    job_lab.begin(capacity=capacity, kept=kept)
    services = job_lab.process()
    made = [ask(job_lab, services, wish) for wish in wishes]
    places = slots_for(Priority.LOW, capacity, kept) or 0
    for _ in range(ceil(len(made) / max(places, 1)) + SPARE_SWEEPS):
        sweep_alone(job_lab, services)
    if not places:  # only critical ones were launched; the others end when their time is over
        job_lab.now.move(max(one.not_after for one in made) - job_lab.now() if made else 0)
        sweep_alone(job_lab, services)
    check_rest(job_lab, kills=set())
    reasons = {one.reason for one in job_lab.invocations().values()}
    assert reasons <= {Reason.SUCCEEDED, Reason.EXPIRED}
