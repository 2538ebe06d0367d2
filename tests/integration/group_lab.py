"""The laboratory of capacity groups: sessions and jobs that share one cluster, in virtual time."""

import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace

from chalicelib.callers import Caller
from chalicelib.capacity import counting
from chalicelib.capacity.groups import Amount, Groups, parse_groups
from chalicelib.capacity.shares import Standing
from chalicelib.dynamodb.serialization import deserialize
from chalicelib.jobs.model import State as JobState
from chalicelib.sessions.model import Session
from chalicelib.sessions.model import State as SessionState
from chalicelib.wiring import Services
from local.hosts.base import ContainerSpec, Exit
from tests.integration.job_lab import JobContainer, JobHost, JobLab
from tests.integration.lab import Container, Lab, LabHost


class SharedHost(JobHost):
    """Runs containers of sessions and of jobs."""

    def start(self, spec: ContainerSpec, on_exit: Callable[[Exit], None]) -> str:
        if "INVOCATION_ID" in spec.environment:
            return super().start(spec, on_exit)
        return LabHost.start(self, spec, on_exit)


class GroupLab(JobLab):
    """One region of AWS with apps and jobs in capacity groups, made anew by `begin_groups`."""

    def begin_groups(self, groups: str, apps: str, jobs: dict[str, str]) -> None:
        """`groups` and `apps`: the texts of the files; `jobs`: the group of each job by name."""
        self.fresh(apps)
        self.runs = Counter()
        self.config = replace(
            self.config, capacity=tomllib.loads(groups), jobs_capacity=0, jobs_running_per_owner=0
        )
        for name, group in jobs.items():
            self.deploy_job(name, group=group, cpu=16, memory=16)
        self.wire.reset(None)

    def configure(self, groups: str) -> None:
        """The capacity file of processes that begin from now on."""
        self.config = replace(self.config, capacity=tomllib.loads(groups))

    def _new_host(self) -> SharedHost:
        cluster = self.config.cluster
        region = "us-east-1"
        return SharedHost(lambda task: f"arn:aws:ecs:{region}:123456789012:task/{cluster}/{task}")

    @property
    def groups(self) -> Groups:
        return parse_groups(self.config.capacity)

    def standings(self) -> dict[str, Standing]:
        """Returns the stored counts of the groups."""
        found = [item for item in self.items() if item["id"]["S"] == counting.ITEM]
        return counting.read_standings(found[0] if found else None, self.groups, self.now())

    def session(self, services: Services, app: str, owner: str) -> Session:
        """Request a session of an owner."""
        return services.sessions.service.dispatch(self.request(app, owner))

    def send_next(self, services: Services, container: Container | JobContainer) -> None:  # type: ignore[override]
        """A container of either kind sends its next request."""
        if isinstance(container, JobContainer):
            super().send_next(services, container)
        else:
            Lab.send_next(self, services, container)

    def job(self, services: Services, job: str, owner: str) -> str:
        """Request a run of an owner; nothing is launched yet."""
        self.now.move(0.001)
        invocations = services.jobs.invocations
        draft = invocations.draft(
            job=job, owner=owner, parameters=None, callback_base_url="http://d"
        )
        return invocations.accept(draft, by=Caller(owner, owner, is_operator=True)).id


def counted(lab: GroupLab) -> dict[str, Amount]:
    """Returns what each group has taken, counted from the records."""
    sums = defaultdict(Amount, {name: Amount() for name in lab.groups.by_name})
    counters = [
        key
        for session in lab.sessions().values()
        if session.state is not SessionState.ENDED
        for key in session.counters
        if counting.is_group_counter(key)
    ]
    counters += [
        key
        for invocation in lab.invocations().values()
        for key in invocation.attempt_counters
        if counting.is_group_counter(key)
    ]
    for key in counters:
        name, *amounts = key.removeprefix("group#").rsplit("#", 3)
        sums[name] += Amount(*map(int, amounts))
    return sums


def check_groups(lab: GroupLab) -> None:
    """Check that the stored counts equal the records', and are within all bounds."""
    groups, standings = lab.groups, lab.standings()
    assert {name: standing.taken for name, standing in standings.items()} == counted(lab)
    total = sum((standing.taken for standing in standings.values()), Amount())
    assert total.fits_in(groups.cluster, groups.resources)
    for name, standing in standings.items():
        assert standing.taken.fits_in(groups.of(name).maximum)
    for group in groups.by_name.values():
        if not group.lend:
            others = total - standings[group.name].taken
            free = groups.cluster - others
            assert group.guarantee.fits_in(free, groups.resources), f"{group.name} was overtaken"
    for session in lab.sessions().values():
        has_task = session.task_arn is not None and session.state is not SessionState.ENDED
        assert not has_task or counting.group_counters(session.counters), "runs uncounted"
    for invocation in lab.invocations().values():
        runs = invocation.state in {JobState.LAUNCHED, JobState.STARTED}
        assert not runs or counting.group_counters(invocation.attempt_counters), "runs uncounted"


def stored(lab: GroupLab) -> dict[str, object]:
    """The stored item of the counts."""
    found = [item for item in lab.items() if item["id"]["S"] == counting.ITEM]
    return deserialize(found[0]) if found else {}
