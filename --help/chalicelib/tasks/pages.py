"""Processes one page of a stage of the sweep: read, plan, act; see
`chalicelib.tasks.reconciler`.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.dynamodb.records import Unreadable, only_readable
from chalicelib.ecs.launcher import Launcher, StaleTokenError
from chalicelib.ecs.task_changes import TaskChange
from chalicelib.tasks.kinds import Kind, Step
from chalicelib.tasks.sweep_state import Tally

FEW_SEARCHES = 5
"""Maximum of tasks that are searched by startedBy, one call each; for more, all are listed."""
LISTING_SECONDS = 10.0
"""Seconds for which a listing is used. ListTasks lags by seconds itself, and what is planned is
harmless where a task was started since.
"""
LISTING_PAGES = 100
"""Pages of 100 tasks, two calls each. Of more tasks than that some are looked for one by one."""
MOST_SEARCHES = 50
"""Tasks looked for one by one for one page, where the listing was not whole; ECS takes some 20
calls a second. What else is to be looked for is left to the next pass.
"""
R = TypeVar("R")

_log = logging.getLogger("usher.sweep")


@dataclass
class _Listing:
    """Results of ListTasks and DescribeTasks."""

    at: float
    tasks: dict[str, list[TaskChange]] = field(default_factory=dict)
    is_whole: bool = False


class Pages:
    """Processes the pages of one invocation."""

    def __init__(
        self,
        launcher: Launcher,
        kinds: Mapping[str, Kind[Any]],
        take: Callable[[Iterable[Step]], None],
        failed: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        """`take` performs steps while there is time; `failed` counts a step that could not be
        prepared.
        """
        self._launcher = launcher
        self._kinds = kinds
        self._take = take
        self._failed = failed
        self._now = now
        self._few_searches = 0
        self._searches = 0
        self._listing: _Listing | None = None
        self._members: dict[str, set[tuple[str, int]]] = {}

    def process(self, stage: str, after: str | None, tally: Tally, *, acts: bool) -> str | None:
        """Process the page `after` of a stage; returns the position of the next one. Unless it
        `acts`, it only reads.
        """
        what, _, place = stage.partition("/")
        if what == "tasks":
            return self._describe_tasks(after, tally, acts=acts)
        name, _, partition = place.partition("/")
        kind = self._kinds[name]
        if what == "counts":
            self._take(self._counted_wrongly(kind))
            return None
        if what == "overdue":
            overdue = kind.overdue_page(int(partition), after)
            if overdue is None:
                return None
            if acts:
                self._repair(kind, only_readable(overdue.records))
            return overdue.after
        page = kind.page(int(partition), after)
        if acts:
            self._read_records(kind, page.records, tally)
        return page.after

    def _read_records(self, kind: Kind[R], found: Sequence[R | Unreadable], tally: Tally) -> None:
        records = only_readable(found)
        unreadable = [record for record in found if isinstance(record, Unreadable)]
        if unreadable:
            kind.unreadable.log(unreadable)
            tally.counts[f"unreadable/{kind.name}"] += len(unreadable)
            self._take(kind.unreadable.marks(unreadable))
        tally.counts["records"] += len(found)
        kind.tally(records, tally)
        self._take(self._uncounted(kind, records))
        self._repair(kind, records)

    def _repair(self, kind: Kind[R], records: Sequence[R]) -> None:
        """Compare these records with their tasks, and act."""
        self._searches = 0
        arns = [arn for record in records if (arn := kind.task_arn_of(record))]
        tasks = self._launcher.describe(arns)
        planned: list[Any] = []
        for record in records:
            own = tasks.get(kind.task_arn_of(record) or "")
            try:
                planned += self._plan(kind, record, {} if own is None else {own.task_arn: own})
            except (BotoCoreError, ClientError):
                fields = kind.log_fields(record)
                _log.exception(
                    "sweep: the tasks of one %s cannot be listed", kind.name, extra=fields
                )
                self._failed()
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
                fields = kind.log_fields(record)
                _log.exception(
                    "sweep: the record of one %s makes no sense", kind.name, extra=fields
                )
                self._failed()
        self._take(kind.steps(planned))

    def _plan(self, kind: Kind[R], record: R, tasks: Mapping[str, TaskChange]) -> list[Any]:
        actions = list(kind.plan(record, tasks))
        mark = kind.searched_by(record, actions)
        if mark is None:
            return actions
        started = self._started_by(mark)
        if started is None:
            return []
        found = {task.task_arn: task for task in started}
        return list(kind.plan(record, found)) if found else actions

    def _started_by(self, mark: str) -> Sequence[TaskChange] | None:
        """The tasks that are meant to run with this startedBy; None where it is not looked up."""
        if self._few_searches < FEW_SEARCHES:
            self._few_searches += 1
            return self._launcher.started_by(mark)
        now = self._now()
        if self._listing is None or not 0 <= now - self._listing.at < LISTING_SECONDS:
            self._listing = _Listing(now)
            self._listing.is_whole = self._list(self._listing.tasks)
        if mark in self._listing.tasks or self._listing.is_whole:
            return self._listing.tasks.get(mark, [])
        self._searches += 1
        return self._launcher.started_by(mark) if self._searches <= MOST_SEARCHES else None

    def _list(self, tasks: dict[str, list[TaskChange]]) -> bool:
        """List tasks by their startedBy; whether these are all."""
        after = None
        for _ in range(LISTING_PAGES):
            try:
                page, after = self._launcher.page(after)
            except StaleTokenError:
                return False
            for task in page:
                tasks.setdefault(task.started_by or "", []).append(task)
            if after is None:
                return True
        return False

    def _describe_tasks(self, after: str | None, tally: Tally, *, acts: bool) -> str | None:
        try:
            tasks, following = self._launcher.page(after)
        except StaleTokenError:
            _log.info("sweep: the tasks are listed anew")
            tasks, following = self._launcher.page(None)
        tally.counts["tasks"] += len(tasks)
        for kind in self._kinds.values() if acts else ():
            own = {t.task_arn: t for t in tasks if kind.record_id_of(t.started_by) is not None}
            if own:
                self._repair_tasks(kind, list(own.values()), tally)
        return following

    def _repair_tasks(self, kind: Kind[R], tasks: Sequence[TaskChange], tally: Tally) -> None:
        ids = {task.task_arn: str(kind.record_id_of(task.started_by)) for task in tasks}
        records = kind.find(list(dict.fromkeys(ids.values())))
        # A record without an index's key is in no page of records and is found by its task only.
        unseen = [r for r in records.values() if isinstance(r, Unreadable) and not r.is_marked]
        kind.unreadable.log(unseen)
        self._take(kind.unreadable.marks(unseen))
        planned: list[Any] = []
        for task in tasks:
            kind.tally_task(task, tally)
            record = records.get(ids[task.task_arn])
            if not isinstance(record, Unreadable):
                planned += kind.plan_task(record, task)
        self._take(kind.steps(planned))

    # Counts of waiting tasks.

    def _uncounted(self, kind: Kind[R], records: Iterable[R]) -> Iterator[Step]:
        """Add missing members to the count."""
        if kind.hosts_wanted is None:
            return
        for record_id, attempt, version in filter(None, map(kind.waiting, records)):
            if kind.name not in self._members:
                self._members[kind.name] = set(kind.hosts_wanted.members(kind.counted_as))
            if (record_id, attempt) not in self._members[kind.name]:
                counted = (kind.counted_as, record_id, attempt, version)
                yield "CountWaiting", partial(kind.hosts_wanted.add_if_unchanged, *counted)

    def _counted_wrongly(self, kind: Kind[Any]) -> Iterator[Step]:
        """Remove members from the count that no longer wait."""
        if kind.hosts_wanted is None:
            return
        members = kind.hosts_wanted.members(kind.counted_as)
        records = kind.find(list(dict.fromkeys(record_id for record_id, _ in members)))
        for record_id, attempt in members:
            record = records.get(record_id)
            if isinstance(record, Unreadable) or (record and kind.may_wait(record, attempt)):
                continue
            remove = partial(kind.hosts_wanted.remove, kind.counted_as, record_id, attempt)
            yield "CountWaiting", remove
