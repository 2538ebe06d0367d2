"""The laboratory of grading: assignments, submissions and judges, all of AWS inside the test.

On the laboratory of jobs: a judge is a container that asks for its start permit, marks, reports and
exits, one step at a time. A mark depends on the grader's files alone, so it identifies the
revision. The bucket is a dictionary; its calls pass the same `Wire` as the other AWS calls.
"""

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError

from chalicelib.audit.model import Action, Actor, AuditRecord, Kind
from chalicelib.audit.model import Outcome as AuditOutcome
from chalicelib.audit.table import AuditEntry
from chalicelib.callers import Caller
from chalicelib.clients import Clients
from chalicelib.config import judges_cluster_name
from chalicelib.contract.jobs import EXIT_NOT_RUN, JUDGE_JOB, Outcome
from chalicelib.errors import UsherError
from chalicelib.grading.items import read_assignment, read_grading, read_submission
from chalicelib.grading.lifecycle import PLACE, marks_key
from chalicelib.grading.model import Assignment, Grading, Readiness, Submission
from chalicelib.grading.requests import parse_put
from chalicelib.jobs.task_definitions import family_of
from chalicelib.wiring import Services
from local.aws.wire import Answer, Request
from tests.integration.job_lab import NEVER, JobContainer, JobLab, Phase, check_jobs
from tests.integration.lab import REGION, items_in
from tests.integration.wire import ATTEMPTS, Wire

OPERATOR = Caller("opal", key_scope="opal", is_operator=True)
PARTS = ("first", "second")
POINTS = 50.0
HAND_INS = 3
"""Number of attempts of a judge to hand in a mark."""
_SCOPE = f"AWS4-HMAC-SHA256 Credential=local/20231114/{REGION}/s3/aws4_request"
_SIGNED = {"authorization": f"{_SCOPE}, Signature=0"}


IMAGE = f"sha256:{'1' * 64}"
"""The image id that each image of a grader resolves to."""


def files_of(revision: int, *, has_images: bool = False) -> dict[str, bytes]:
    """Returns the files of an assignment of two parts whose programs get this revision's score."""
    image = b'image = "grader"\n' if has_images else b""
    files = {"assignment.toml": b""}
    text = 'title = "Two"\npass_points = 1\n'
    for part in PARTS:
        text += f'[parts.{part}]\ntitle = "{part}"\npoints = {POINTS}\n'
        files[f"{part}/grader.toml"] = image + (
            b'files = ["main.py"]\nrun = ["python3", "main.py"]\n'
            b'[[cases]]\ninput = "1.in"\nanswer = "1.ans"\n'
        )
        files[f"{part}/1.in"] = b""
        files[f"{part}/1.ans"] = str(revision).encode()
    return files | {"assignment.toml": text.encode()}


def score_of(revision: int) -> float:
    """Returns the score of every submission for a part at a revision; it differs by revision."""
    return float(revision)


class LabS3:
    """The calls of S3 that grading makes, through the wire; they are retried as boto3 does."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def put_object(self, **given: Any) -> None:
        self._call("PutObject", given, Request("PUT", _path(given), _SIGNED, given["Body"]))

    def get_object(self, **given: Any) -> dict[str, Any]:
        answer = self._call("GetObject", given, Request("GET", _path(given), _SIGNED))
        return {"Body": io.BytesIO(answer.body)}

    def generate_presigned_url(self, method: str, **given: Any) -> str:
        return f"{method}:{given['Params']['Key']}?{given['ExpiresIn']}"

    def _call(self, name: str, given: dict[str, Any], request: Request) -> Answer:
        self._wire.begin(f"s3.{name}")
        self._wire.check("s3", name, given)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._wire.send(request)
            except ConnectionClosedError:
                if attempt == ATTEMPTS:
                    raise
                continue
            if answer.status < 500:
                break
        if answer.status >= 300:
            code = "NoSuchKey" if answer.status == 404 else str(answer.status)
            raise ClientError({"Error": {"Code": code, "Message": ""}}, name)
        return answer


def _path(given: dict[str, Any]) -> str:
    return f"/{given['Bucket']}/{given['Key']}"


@dataclass
class Marked:
    """A judge's mark: of which grading, by which invocation, at which revision."""

    grading: str
    invocation: str
    revision: int


@dataclass
class Judge:
    """The state of the judge in a container."""

    order: dict[str, Any] | None = None
    """The grading it marks; None where it has no permit, or has marked."""
    result: dict[str, Any] | None = None
    """The mark that it has to hand in, or what it ends with."""
    refusals: int = 0
    """Number of attempts to hand in that mark without an answer."""
    marked: list[Marked] = field(default_factory=list)


class GradingLab(JobLab):
    """One region of AWS with a deployed judge, made anew by `begin`."""

    def __init__(self, *, index_lag_seconds: float = 0.0, read_lag_seconds: float = 0.0) -> None:
        self.objects: dict[str, bytes] = {}
        super().__init__(index_lag_seconds=index_lag_seconds, read_lag_seconds=read_lag_seconds)

    def _check_right(self, service: str, action: str, parameters: Mapping[str, Any]) -> None:
        """A laboratory has one cluster; a deployment runs the judge in one of its own."""
        if family_of(JUDGE_JOB, self.config.stage) in str(parameters.get("taskDefinition")):
            parameters = {**parameters, "cluster": judges_cluster_name(self.config.stage)}
        super()._check_right(service, action, parameters)

    def begin(self, *, judges: int = 4, **world: Any) -> None:
        """Empty tables and bucket; nothing is put, nothing waits."""
        self.objects.clear()
        self.judges: dict[str, Judge] = {}
        self.refuses_images = False
        super().begin(**world)
        self.config = replace(self.config, grading_capacity=judges)
        self.deploy_job(JUDGE_JOB, parameters={"type": "object"})
        self.wire.reset(None)

    def _attached(self, wire: Wire) -> Clients:
        clients = super()._attached(wire)
        s3 = LabS3(wire)
        return replace(clients, create=lambda name: s3 if name == "s3" else clients.create(name))

    def _answer(self, request: Request) -> Answer | None:
        if not request.headers["authorization"].startswith(_SCOPE):
            return super()._answer(request)
        if request.method == "PUT":
            self.objects[request.path] = request.body
            return Answer(200)
        found = self.objects.get(request.path)
        return Answer(404) if found is None else Answer(200, {}, found)

    # Callers.

    def audit(self, action: Action, resource: str) -> AuditEntry:
        """The record of a change by the operator."""
        actor = Actor("opal", Kind.OPERATOR, "192.0.2.9", self._ids.uuid())
        record = AuditRecord(
            self._ids.uuid(), self.now(), actor, action, resource, AuditOutcome.DONE
        )
        return AuditEntry(record, self.config.audit_table, 30)

    def put_assignment(
        self, services: Services, revision: int, *, has_images: bool = False
    ) -> Assignment:
        """PUT /assignments/two."""
        files_put = files_of(revision, has_images=has_images)
        found, files = parse_put(
            "two", {"files": {path: data.decode() for path, data in files_put.items()}}
        )
        audit = self.audit(Action.ASSIGNMENT_PUT, "assignments/two")
        return services.grading.assignments.put(
            "two", found, files, OPERATOR, audit, callback_base_url="http://d"
        )[0]

    def prepare(self, services: Services) -> Assignment:
        """POST /assignments/two/prepare."""
        audit = self.audit(Action.ASSIGNMENT_PREPARE, "assignments/two")
        return services.grading.assignments.prepare("two", OPERATOR, audit, "http://d")

    def submit(
        self,
        services: Services,
        learner: str = "ada",
        submission_id: str | None = None,
        parts: tuple[str, ...] = PARTS,
    ) -> Submission:
        """POST /assignments/two/submissions."""
        grades = services.grading.grades
        grades.check_accepts_submissions()
        assignment = services.grading.assignments.get("two")
        grades.check_prepared(assignment)
        return grades.submit(
            assignment,
            {part: {"main.py": f"of {learner}".encode()} for part in parts},
            submission_id=submission_id,
            digest="d" if submission_id else None,
            learner=learner,
            callback_base_url="http://dispatcher",
            audit=lambda new: self.audit(Action.SUBMISSION_ADD, f"submissions/{new}"),
        ).submission

    def regrade(
        self, services: Services, submission: Submission, request: str, *, is_whole: bool = False
    ) -> Submission:
        """POST /submissions/{id}/regrade, or a page of POST /assignments/{id}/regrade."""
        grades = services.grading.grades
        seen = grades.submission(submission.id, OPERATOR)
        audit = self.audit(Action.SUBMISSION_REGRADE, f"submissions/{seen.id}")
        assignment = services.grading.assignments.get("two")
        return grades.regrade(assignment, seen, request, "http://d", audit, is_whole=is_whole)[0]

    # Judges.

    def judge_of(self, container: JobContainer) -> Judge:
        """Returns the state of the judge in this container."""
        return self.judges.setdefault(container.process, Judge())

    def ask(self, services: Services, container: JobContainer, *, is_answered: bool = True) -> None:
        """Answer as chalicelib/api/jobs.py does: the permit and the grading."""
        try:
            permit = services.jobs.invocations.start(
                container.invocation_id,
                container.key,
                container.attempt,
                container.task_arn,
                container.process,
            )
            order = services.grading.judging.start(
                permit["parameters"],
                container.invocation_id,
                container.key,
                permit["timeoutSeconds"],
            )
        except NEVER:
            if is_answered:
                self.end_process(container, EXIT_NOT_RUN)
            return
        if is_answered and container.running:
            container.phase, container.since, container.ran = Phase.RUNNING, None, True
            self.runs[container.invocation_id] += 1
            self.judge_of(container).order = dict(order)

    def mark(self, container: JobContainer) -> None:
        """The judge marks its current grading."""
        judge = self.judge_of(container)
        assert judge.order is not None
        key = judge.order["grader"].removeprefix("get_object:").partition("?")[0]
        revision = int(key.rpartition("/")[2].partition("-")[0])
        judge.marked.append(Marked(judge.order["grading"], container.invocation_id, revision))
        judge.result = {
            "grading": judge.order["grading"],
            "verdict": "WA",
            "score": score_of(revision),
            "maxScore": POINTS,
            "feedback": f"at revision {revision}",
            "detailed": False,
        }
        if judge.order.get("prepare"):
            judge.result |= {"verdict": "AC", "score": 0, "images": dict.fromkeys(PARTS, IMAGE)}
            if self.refuses_images:
                judge.result |= {"verdict": "IE", "score": None, "images": {}}
        judge.order, judge.refusals = None, 0

    def hand_in(
        self, services: Services, container: JobContainer, *, is_answered: bool = True
    ) -> None:
        """The judge hands in its mark and receives the next grading, or ends."""
        judge = self.judge_of(container)
        assert judge.result is not None
        judge.refusals += 1
        try:
            order = services.grading.judging.mark(
                container.invocation_id,
                marks_key(container.key),
                judge.result["grading"],
                judge.result,
            )
        except NEVER:
            if is_answered:
                self.end(container)
            return
        if not is_answered or not container.running:
            return
        if order is not None:
            judge.order, judge.result = dict(order), None
            return
        judge.result = {"gradings": len(judge.marked)}
        self.end(container)

    def report(
        self, services: Services, container: JobContainer, *, is_answered: bool = True
    ) -> None:
        """The judge reports how the run ended, and exits when the report is acknowledged."""
        outcome = container.outcome
        code = {Outcome.SUCCEEDED: 0, Outcome.KILLED: 143}.get(outcome, 3)
        try:
            services.jobs.invocations.finish(
                container.invocation_id,
                container.key,
                container.process,
                outcome,
                exit_code=code,
                detail="",
                result=self.judge_of(container).result if code == 0 else None,
                usage=None,
            )
            container.was_acknowledged = True
        except NEVER:
            pass
        if is_answered:
            self.end_process(container, code)

    def judges_work(self, services: Services, failures: list[BaseException]) -> None:
        """Every judge does its next step; what fails it does again later."""
        self.settle()
        for container in self.jobs:
            if not container.running or container.is_silent:
                continue
            try:
                self._works(services, container)
            except (UsherError, ClientError, BotoCoreError) as error:
                failures.append(error)
        self.settle()

    def _works(self, services: Services, container: JobContainer) -> None:
        judge = self.judge_of(container)
        while container.running and container.phase is Phase.RUNNING:
            if judge.order is not None:
                self.mark(container)
            elif judge.refusals == HAND_INS:
                self.end(container)
            else:
                self.hand_in(services, container)
        self.send_next(services, container)

    def sweep(self, services: Services) -> dict[str, int]:
        """The sweep of jobs and gradings."""
        return services.sweep_of(services.jobs.kind, services.grading.kind).run()

    # Looking.

    def grading_items(self) -> list[dict[str, Any]]:
        """Returns all items of the table from moto's storage."""
        return items_in(self.config.grading_table)

    def gradings(self) -> dict[str, Grading]:
        """All records of gradings, by id."""
        found = [read_grading(item) for item in self.grading_items() if "of_assignment" in item]
        return {grading.id: grading for grading in found}

    def submissions(self) -> dict[str, Submission]:
        """All records of submissions, by id."""
        found = [read_submission(item) for item in self.grading_items() if "by_learner" in item]
        return {submission.id: submission for submission in found}

    def assignment(self) -> Assignment | None:
        """The record of the assignment."""
        items = [i for i in self.grading_items() if i["id"]["S"] == "assignment#two"]
        return read_assignment(items[0]) if items else None

    def counts(self, prefix: str) -> dict[str, int]:
        """Returns the counters whose keys begin with `prefix`."""
        return {
            item["id"]["S"]: int(item["n"]["N"])
            for item in self.grading_items()
            if item["id"]["S"].startswith(prefix) and "n" in item
        }

    def audit_resources(self) -> list[str]:
        """Returns the resources of all audit records."""
        items = items_in(self.config.audit_table)
        return [item["resource"]["S"] for item in items]


def check_grading(lab: GradingLab) -> None:
    """Check the invariants of gradings, which hold after every step."""
    check_jobs(lab)
    gradings, submissions = lab.gradings(), lab.submissions()
    held = Counter(key for grading in gradings.values() for key in grading.attempt_counters)
    counted = lab.counts("learner#") | lab.counts(PLACE)
    assert {key: n for key, n in counted.items() if n} == held, "counts equal what is held"
    assert held[PLACE] <= lab.config.grading_capacity
    check_preparation(lab, gradings)
    gradings = {key: each for key, each in gradings.items() if not each.is_preparation}
    known = [
        each
        for submission in submissions.values()
        for part in submission.parts
        for each in (part.grading, *part.older)
    ]
    assert sorted(known) == sorted(gradings), "each grading once in one history"
    for submission in submissions.values():
        for part in submission.parts:
            assert f"/{lab.config.grading_bucket}/{part.archive}" in lab.objects, "files are lost"
            grading = gradings[part.grading]
            assert (part.verdict, part.score) == (grading.verdict, grading.score)
    for grading in gradings.values():
        check_mark(lab, grading)
    assignment = lab.assignment()
    if assignment is not None:
        assert f"/{lab.config.grading_bucket}/{assignment.archive}" in lab.objects


def check_preparation(lab: GradingLab, gradings: dict[str, Grading]) -> None:
    """The assignment has the result of its preparation; nothing is marked before that."""
    assignment = lab.assignment()
    current = assignment and assignment.preparation
    if current is not None:
        found = gradings[current.grading]
        expected = Readiness.PREPARING
        if found.has_ended:
            expected = Readiness.FAILED if found.verdict == "IE" else Readiness.READY
        assert current.state is expected
        assert dict(current.images) == dict(found.images)
    running = [g for g in gradings.values() if g.is_preparation and not g.has_ended]
    assert len({g.revision for g in running}) == len(running), "one at a time of a revision"
    prepared = {g.revision for g in gradings.values() if g.is_preparation}
    for grading in gradings.values():
        if grading.revision in prepared and not grading.is_preparation:
            is_held = grading.awaits is not None
            assert not (is_held and grading.attempt), f"a judge has it too early: {grading}"
            assert is_held or grading.image == IMAGE or grading.verdict == "IE", grading


def check_mark(lab: GradingLab, grading: Grading) -> None:
    """A verdict is what a judge of its own found, at its own revision."""
    if not grading.has_ended or grading.verdict == "IE":
        return
    assert grading.score == score_of(grading.revision), f"of a stale revision: {grading}"
    found = [
        marked
        for judge in lab.judges.values()
        for marked in judge.marked
        if marked.grading == grading.id and marked.invocation == grading.invocation
    ]
    assert found, f"no mark of its judge: {grading}"
