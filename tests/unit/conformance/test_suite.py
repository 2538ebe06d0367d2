"""The conformance suite itself: complete, cheap, and with a report of the checks that it
skipped.
"""

import base64
import hashlib
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.apps import parse_apps
from conformance import __main__ as command
from conformance import cost
from conformance.answers import ELSEWHERE, REFUSALS, UNSEEN
from conformance.aws_target import AwsTarget, prepare
from conformance.local_target import apps_file
from conformance.promises import PROMISES, Outcome, Promise, Result, run
from conformance.report import (
    EMPTY,
    NOT_YET,
    Column,
    column,
    document,
    read_by_hand,
    read_columns,
    table,
)
from conformance.sessions import _with_label
from conformance.target import BrokenPromiseError, NotHereError, Session, require

ROOT = Path(__file__).parents[3]


def documented():
    text = (ROOT / "docs" / "contracts.md").read_text("utf-8")
    return {(int(s), c) for s, c in re.findall(r"^\| (\d{3}) \| `(\w+)` \|", text, re.MULTILINE)}


def test_every_documented_error_is_checked_or_has_a_reason():
    checked = {(each.status, each.code) for each in REFUSALS} | set(ELSEWHERE)
    assert documented() == checked | set(UNSEEN)
    assert not checked & set(UNSEEN)


def test_answers_that_are_checked_elsewhere_are_checked_by_a_promise_there_is():
    names = {promise.name for promise in PROMISES}
    assert {re.match(r"`(\w+)`", where)[1] for where in ELSEWHERE.values()} <= names


def test_a_run_costs_at_most_a_dollar_and_says_so_item_by_item():
    assert cost.total() <= cost.MOST_DOLLARS
    assert f"{cost.total():.2f}  US dollars" in cost.statement()
    assert all(item.what in cost.statement() for item in cost.ITEMS)


# Results.


class Place:
    name, stage, url, headers = "nowhere", "local", "http://127.0.0.1:1", {}


def promise(name, check):
    return Promise(name, name, check)


def test_a_broken_promise_does_not_keep_the_next_one_from_being_checked():
    def broken(_):
        raise BrokenPromiseError("no")

    def fails(_):
        raise ZeroDivisionError

    def elsewhere(_):
        raise NotHereError("because")

    checks = {"broken": broken, "fails": fails, "elsewhere": elsewhere, "kept": lambda _: "seen"}
    found = run(Place(), [promise(name, check) for name, check in checks.items()], lambda _: None)
    assert {result.name: result.outcome for result in found} == {
        "broken": Outcome.BROKEN,
        "fails": Outcome.BROKEN,
        "elsewhere": Outcome.NOT_HERE,
        "kept": Outcome.KEPT,
    }


def test_waiting_ends_at_its_deadline_with_what_was_waited_for():
    now = iter(range(100))
    session = Session(Place(), sleep=lambda _: None, now=lambda: float(next(now)))
    with pytest.raises(BrokenPromiseError, match="the moon: not within 5 s"):
        session.wait("the moon", 5, lambda: None)
    assert session.wait("it", 5, lambda: "there") == "there"
    with pytest.raises(BrokenPromiseError, match="words"):
        require(condition=False, what="words")


results = st.builds(
    Result,
    st.sampled_from([one.name for one in PROMISES]),
    st.sampled_from(Outcome),
    st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), max_size=200),
    st.floats(0, 10),
)


@given(st.lists(results, max_size=30))
def test_the_document_is_read_back_and_one_place_leaves_the_others_column_alone(found):
    here = column("2026-01-01, here", found)
    first = document(PROMISES, here, EMPTY)
    back, there = read_columns(first)
    assert there == Column(NOT_YET, {})
    assert back.head == here.head
    assert set(back.cells) == set(here.cells)
    second = document(PROMISES, back, column("2026-01-02, there", found))
    assert document(PROMISES, *read_columns(second)) == second
    assert all(one.name in table(PROMISES, back, there) for one in PROMISES)


def test_what_people_wrote_behind_the_table_is_kept():
    written = document(PROMISES, EMPTY, EMPTY, "## More\n\n| a | b |\n\n## And more\n")
    again = document(PROMISES, *read_columns(written), read_by_hand(written))
    assert again == written
    assert read_by_hand(document(PROMISES, EMPTY, EMPTY)) == ""


def test_what_nobody_ran_says_so():
    text = document(PROMISES, EMPTY, EMPTY)
    assert text.count(NOT_YET) == 2 * len(PROMISES) + 2


def test_the_document_in_docs_has_a_row_for_each_promise_and_only_what_was_run():
    text = (ROOT / "docs" / "verified.md").read_text("utf-8")
    here, there = read_columns(text)
    assert document(PROMISES, here, there, read_by_hand(text)) == text
    assert set(here.cells) == {one.name for one in PROMISES}
    assert there.head == NOT_YET or set(there.cells) == {one.name for one in PROMISES}


def test_another_revision_says_the_same_but_for_a_label():
    container = {"name": "session", "image": "i", "dockerLabels": {"a": "b"}}
    given_ = {"family": "f", "revision": 3, "status": "ACTIVE", "containerDefinitions": [container]}
    made = _with_label(given_)
    labels = made["containerDefinitions"][0].pop("dockerLabels")
    assert labels.pop("conformance")
    assert labels == {"a": "b"}
    assert made == {"family": "f", "containerDefinitions": [{"name": "session", "image": "i"}]}


# On AWS.


def test_the_stage_of_the_copy_has_policies_settings_and_apps_of_its_own(tmp_path):
    project = prepare(tmp_path, "trial", {"MinHosts": "1"})
    config = json.loads((project / ".chalice" / "config.json").read_text("utf-8"))
    stage = config["stages"]["trial"]
    assert stage["environment_variables"]["STAGE"] == "trial"
    for facts in stage["lambda_functions"].values():
        policy = (project / ".chalice" / facts["iam_policy_file"]).read_text("utf-8")
        assert "usher-trial" in policy
        assert "usher-dev" not in policy
    settings = tomllib.loads((project / "infra" / "stages" / "trial.toml").read_text("utf-8"))
    assert settings["parameters"] == {"MinHosts": 1}
    shipped = (project / "chalicelib" / "apps.toml").read_text("utf-8")
    apps = parse_apps(tomllib.loads(shipped)).by_name
    assert set(apps) >= {
        "cold",
        "warm",
        "fargate",
        "fargate-warm",
        "direct",
        "limited",
        "broken",
        "bulky",
    }
    assert "{stage}" not in shipped
    assert not (project / ".git").exists()


@pytest.mark.parametrize("fargate", [True, False])
def test_apps_on_fargate_are_only_where_there_is_fargate(tmp_path, fargate):
    path = apps_file(tmp_path, "local", fargate=fargate)
    apps = set(parse_apps(tomllib.loads(path.read_text("utf-8"))).by_name)
    assert ({"fargate", "fargate-warm"} <= apps) is fargate


def test_a_dry_run_shows_the_cost_every_command_and_every_check(capsys):
    assert command.main(["--target", "aws", "--dry-run", "--parameter", "MaxHosts=2"]) == 0
    shown = capsys.readouterr().out
    assert "US dollars" in shown
    deploy = shown.index("python -m infra.deploy deploy --stage trial")
    destroy = shown.index("python -m infra.deploy destroy --stage trial --yes")
    assert deploy < shown.index("MaxHosts=2") < shown.index("usher deploy") < destroy
    assert "aws cloudformation delete-stack --stack-name usher-trial\n" in shown
    assert all(f"check {one.name}: " in shown for one in PROMISES)


def test_nothing_is_built_without_a_word(monkeypatch, capsys):
    monkeypatch.setattr("builtins.input", lambda _: "no")
    assert command.main(["--target", "aws"]) == 3
    assert "US dollars" in capsys.readouterr().err


def test_unknown_promises_and_parameters_are_wrong_usage():
    for statement in (["--only", "nope"], ["--parameter", "nope"]):
        with pytest.raises(SystemExit) as ended:
            command.main([*statement, "--dry-run"])
        assert ended.value.code == 2


class Account:
    """Stands for a boto3 session and its clients: CloudFormation's outputs, hosts."""

    def client(self, _service):
        return self

    def describe_stacks(self, **_):
        outputs = {"EndpointURL": "https://api.example/api/", "JobsRepositoryUri": "r.example/jobs"}
        shown = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
        return {"Stacks": [{"Outputs": shown}]}

    def get_authorization_token(self):
        token = base64.b64encode(b"AWS:secret").decode()
        return {"authorizationData": [{"authorizationToken": token}]}

    def terminate_instances(self, **asked):
        self.terminated = asked["InstanceIds"]

    def describe_tasks(self, cluster, tasks):
        return {"tasks": [{"containerInstanceArn": f"{cluster}/host-of-{tasks[0]}"}]}

    def describe_container_instances(self, **asked):
        (arn,) = asked["containerInstances"]
        return {"containerInstances": [{"ec2InstanceId": f"i-{arn[-1]}"}]}


class Runner:
    """Records the commands, and fails those with a word."""

    def __init__(self, failing=""):
        self.verbs = []
        self.commands = []
        self.failing = failing

    def __call__(self, statement, **options):
        self.verbs.append(statement[3])
        self.commands.append((statement, options["input"]))
        self.key = options["env"]["USHER_API_KEY"]
        code = 1 if self.failing and self.failing in statement else 0
        return subprocess.CompletedProcess(statement, code)


def target(runner, **options):
    said = []
    made = AwsTarget(said.append, run=runner, session=Account(), **options)
    return made, said


def test_a_stage_is_destroyed_after_the_checks_whatever_they_did():
    runner = Runner()
    made, _ = target(runner)

    def check():
        with made as place:
            assert place.url == "https://api.example/api"
            assert runner.verbs == ["deploy"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        check()
    assert runner.verbs == ["deploy", "destroy"]


def test_what_a_failed_deployment_left_is_destroyed_too():
    runner = Runner(failing="deploy")
    made, _ = target(runner)
    with pytest.raises(BrokenPromiseError, match="ended with 1"):
        made.__enter__()
    assert runner.verbs == ["deploy", "destroy"]


def test_a_stage_that_is_kept_says_how_to_end_it(tmp_path, monkeypatch):
    monkeypatch.setattr("conformance.aws_target.ROOT", tmp_path)
    monkeypatch.setattr("conformance.aws_target.COPIED", ())
    runner = Runner()
    (tmp_path / "build").mkdir()
    monkeypatch.setattr("conformance.aws_target.prepare", lambda folder, *_: folder / "usher")
    made, said = target(runner, keep=True)
    with made as place:
        place._plan.project.mkdir()
    assert runner.verbs == ["deploy"]
    assert "infra.deploy destroy --stage trial" in said[-1]


def test_the_jobs_image_is_pushed_to_the_stages_repository_and_registered_there():
    runner = Runner()
    made, _ = target(runner)
    with made as place:
        place.deploy_job()
        (login, password), (deploy, _) = runner.commands[1:3]
        assert (login[:2], login[-1], password) == (["docker", "login"], "r.example", "secret")
        job = Path(deploy[deploy.index("--project") + 1])
        assert (job / "Dockerfile").is_file()
        assert (job / "jobs" / "probe.py").is_file()
        assert deploy[-5:] == [
            "--url", "https://api.example/api", "--image", "r.example/jobs:conformance", "--push",
        ]  # fmt: skip


def test_each_run_has_a_key_of_its_own_whose_hash_the_stage_is_given():
    runner = Runner()
    (first, _), (second, _) = target(runner), target(runner)
    assert first.headers != second.headers
    with first as place:
        key = place.headers["X-Api-Key"]
        stage = place._plan.project / "infra" / "stages" / "trial.toml"
        parameters = tomllib.loads(stage.read_text("utf-8"))["parameters"]
        assert parameters["ApiKeys"] == f"conformance:{hashlib.sha256(key.encode()).hexdigest()}"
        assert parameters["Operators"] == "conformance"
        assert runner.key == key
    assert key not in str(runner.commands)


def test_a_host_is_killed_by_ending_its_instance():
    made, _ = target(Runner())
    with made as place:
        place.kill_a_host("task-7")
    assert made.client("ec2").terminated == ["i-7"]


def test_what_a_stage_cannot_show_says_why():
    made, _ = target(Runner(), parameters={"Feed": "kinesis"})
    with pytest.raises(NotHereError, match="kinesis"):
        made.has_fan_out()
    with pytest.raises(NotHereError, match="--tls"):
        made.has_tls()
