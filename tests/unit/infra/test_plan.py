"""Plans of a deployment; nothing is executed."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from chalicelib.config import load_apps
from chalicelib.contract.fanout import is_fanout, relay_rules, session_rules
from chalicelib.ecs.task_definitions import task_definition_for
from infra.deploy.__main__ import load_settings
from infra.deploy.context import build_context, build_judge_context, content_hash
from infra.deploy.finish import finish
from infra.deploy.plan import plan_deploy, plan_destroy, plan_diff
from infra.deploy.settings import Settings, SettingsError, parse_settings
from infra.deploy.steps import (
    DeleteStack,
    DeployStack,
    EnsureImage,
    FindS3PrefixList,
    Later,
    Package,
    RegisterJudge,
    RegisterTaskDefinitions,
    ReleaseHosts,
    ShowChanges,
    WaitForHosts,
)

APP = load_apps().get(None)
SETTINGS = Settings("dev", "eu-west-1", parameters={"MinHosts": "3"})
GRADERS = Settings("dev", "eu-west-1", parameters={"Graders": "ec2"})
DECLARED = {"MinHosts": {}, "Feed": {"AllowedValues": ["kinesis", "valkey"]}}
HASH = "sha256:" + "0" * 64
DIGEST = f"python:3.12-slim@{HASH}"


def step(plan, kind):
    (found,) = (s for s in plan if isinstance(s, kind))
    return found


def test_the_dispatcher_comes_before_the_containers_and_the_proof_comes_last():
    kinds = [type(s).__name__ for s in plan_deploy(SETTINGS, "abc")]
    assert kinds == [
        "CheckAppNames", "DeployStack", "EnsureImage", "Package", "DeployStack",
        "RegisterTaskDefinitions", "WaitForHosts", "SmokeTest",
    ]  # fmt: skip


def test_every_later_value_is_found_out_by_an_earlier_step():
    plans = (
        *(plan_deploy(SETTINGS, "abc"), plan_diff(SETTINGS)),
        *(plan_deploy(GRADERS, "abc", "def"), plan_diff(GRADERS)),
    )
    for plan in plans:
        known = {"current_image"}
        for each in plan:
            values = [v for v in vars(each).values() if isinstance(v, Later)]
            for mapping in (v for v in vars(each).values() if isinstance(v, dict)):
                values += [v for v in mapping.values() if isinstance(v, Later)]
            for value in values:
                stack, dot, _ = value.name.partition(".")
                assert (stack if dot else value.name) in known, value
            match each:
                case DeployStack() | ShowChanges():
                    known.add(each.stack)
                case EnsureImage():
                    known.add(each.finds_out)
                case FindS3PrefixList():
                    known.add("s3_prefix_list")
                case Package():
                    known.add("template")


def test_a_stage_with_graders_gets_the_judge_and_another_nothing_of_it():
    plan = plan_deploy(GRADERS, "abc", "def")
    _, image = (s for s in plan if isinstance(s, EnsureImage))
    assert (image.tag, image.context, image.lock) == ("def", "judge", "usher/requirements.lock")
    judge = step(plan, RegisterJudge)
    assert judge.image == Later("judge_image")
    assert judge.execution_role == Later("usher-dev.JudgeExecutionRoleArn")
    (*_, main) = (s for s in plan if isinstance(s, DeployStack))
    assert main.parameters["S3PrefixList"] == Later("s3_prefix_list")
    assert [s.group for s in plan_destroy(GRADERS) if isinstance(s, ReleaseHosts)] == [
        "usher-dev-hosts",
        "usher-dev-graders",
    ]
    without = plan_deploy(SETTINGS, "abc")
    assert not [s for s in without if isinstance(s, RegisterJudge | FindS3PrefixList)]


def test_fargate_for_graders_is_refused_with_the_reason():
    document = {"parameters": {"Graders": "fargate"}}
    declared = {"Graders": {"AllowedValues": ["none", "ec2"]}}
    with pytest.raises(SettingsError, match="no container engine to make a box"):
        parse_settings(document, stage="dev", region="r", declared=declared, digests={})


def test_the_judges_context_is_a_project_of_jobs_with_ushers_dockerfile():
    context = build_judge_context()
    assert context == build_judge_context()
    with tarfile.open(fileobj=io.BytesIO(context)) as tar:
        names = set(tar.getnames())
        assert {entry.mtime for entry in tar} == {0}
        dockerfile = tar.extractfile("Dockerfile").read()
    assert dockerfile == (Path(__file__).parents[3] / "usher" / "Dockerfile").read_bytes()
    wanted = {"jobs/marking.py", "usher/box/guard.py", "usher/requirements.lock", "wheels"}
    assert names >= wanted | {"requirements.txt", "usher/contract/sigv4.py"}


def test_an_image_is_named_by_its_content():
    image = step(plan_deploy(SETTINGS, "abc"), EnsureImage)
    assert image.tag == "abc"
    assert image.platform == "linux/amd64"
    assert "--platform" in image.build


def test_the_kind_of_feed_decides_who_gets_a_role():
    direct = plan_deploy(SETTINGS, "abc")
    fan_out = plan_deploy(Settings("dev", "r", parameters={"Feed": "valkey"}), "abc")
    for plan in (direct, fan_out):  # an app may have a feed of its own, which needs one
        assert set(step(plan, RegisterTaskDefinitions).roles) == {"execution", "session"}
    assert not is_fanout(step(direct, RegisterTaskDefinitions).feed_url)
    assert is_fanout(step(fan_out, RegisterTaskDefinitions).feed_url)
    assert step(fan_out, Package).environment["FEED_URL"].startswith("rediss://")
    assert "FEED_URL" not in step(direct, Package).environment


def test_sessions_get_the_password_of_a_fan_out_feed_as_a_secret_of_their_task():
    fan_out = step(
        plan_deploy(Settings("dev", "r", parameters={"Feed": "valkey"}), "abc"),
        RegisterTaskDefinitions,
    )
    assert fan_out.feed_password == Later("usher-dev.FeedSessionPassword")
    request = task_definition_for(
        APP, stage="dev", feed_url=fan_out.feed_url, feed_password="arn:x"
    )
    (container,) = request["containerDefinitions"]
    assert container["secrets"] == [{"name": "FEED_PASSWORD", "valueFrom": "arn:x"}]
    own = replace(APP, feed_url="redis://elsewhere/updates")
    request = task_definition_for(own, stage="dev", feed_password="arn:x")
    assert "secrets" not in request["containerDefinitions"][0]


def test_both_users_of_the_feed_have_the_rules_that_a_real_server_was_tested_with(templates):
    resources = templates["valkey"]["Resources"]
    for name, rules in (("FeedRelayUser", relay_rules), ("FeedSessionUser", session_rules)):
        written = resources[name]["Properties"]["AccessString"]["Fn::Sub"]
        assert written == rules("usher-${Stage}-updates")
    assert resources["FeedDefaultUser"]["Properties"]["AccessString"].startswith("off ")
    assert "AuthToken" not in resources["Valkey"]["Properties"]


def test_what_shapes_the_api_is_known_while_it_is_packaged():
    settings = Settings("dev", "r", parameters={"AuthMode": "iam"})
    assert step(plan_deploy(settings, "abc"), Package).environment == {"AUTH_MODE": "iam"}


def test_hosts_are_waited_for_where_there_will_be_any():
    assert step(plan_deploy(SETTINGS, "abc"), WaitForHosts).minimum == 3
    fargate = Settings("dev", "r", parameters={"Capacity": "fargate"})
    assert step(plan_deploy(fargate, "abc"), WaitForHosts).minimum == 0


def test_a_stage_ends_in_the_other_order():
    stacks = [s.stack for s in plan_destroy(SETTINGS) if isinstance(s, DeleteStack)]
    assert stacks == ["usher-dev", "usher-dev-foundation"]


@pytest.mark.parametrize(
    "plan", [plan_deploy(SETTINGS, "a"), plan_diff(SETTINGS), plan_destroy(SETTINGS)]
)
def test_every_step_can_be_said_in_the_words_of_a_shell(plan):
    for each in plan:
        assert each.title
        assert all(command.strip() for command in each.commands())


def test_stage_files_are_read():
    settings = load_settings("dev", "eu-west-1")
    assert settings.parameters["AuthMode"] == "none"
    assert (settings.stage, settings.region) == ("dev", "eu-west-1")
    with pytest.raises(SettingsError, match="AuthMode"):
        load_settings("prod", "eu-west-1")
    with pytest.raises(SettingsError, match="no such file"):
        load_settings("nowhere", "eu-west-1")


def test_all_mistakes_of_a_stage_file_are_named_at_once():
    document = {
        "colour": "red",
        "architecture": "mips",
        "pinned": True,
        "parameters": {"Feed": "pigeon", "Stage": "dev", "MaxHost": 2},
    }
    with pytest.raises(SettingsError) as caught:
        parse_settings(document, stage="dev", region=None, declared=DECLARED, digests={})
    for part in ("colour", "architecture", "region", "base_image", "Feed", "Stage", "MaxHost"):
        assert part in str(caught.value)


def test_a_pinned_image_is_taken():
    document = {"pinned": True, "base_image": DIGEST, "parameters": {"MinHosts": 2}}
    settings = parse_settings(document, stage="prod", region="r", declared=DECLARED, digests={})
    assert settings.base_image == DIGEST
    assert settings.parameters == {"MinHosts": "2"}


def test_the_same_content_gives_the_same_context_and_another_base_another_name():
    context = build_context()
    assert context == build_context()
    assert content_hash(context, "a", "linux/amd64") != content_hash(context, "b", "linux/amd64")
    assert content_hash(context, "a", "linux/amd64") != content_hash(context, "a", "linux/arm64")


def test_the_context_has_what_the_dockerfile_copies_and_nothing_of_the_dispatcher():
    with tarfile.open(fileobj=io.BytesIO(build_context())) as tar:
        names = set(tar.getnames())
        assert {entry.mtime for entry in tar} == {0}
    dockerfile = (Path(__file__).parents[3] / "session_handler" / "Dockerfile").read_text("utf-8")
    for line in dockerfile.splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            source = line.split()[1]
            assert any(name == source or name.startswith(source + "/") for name in names), source
    assert "chalicelib/config.py" not in names


def test_what_chalice_left_open_is_closed(templates):
    finished = finish(templates["valkey"], code="s3://bucket/code", architecture="arm64")
    resources = finished["Resources"]
    relay = resources["RelayRecords"]["Properties"]
    assert relay["CodeUri"] == "s3://bucket/code"
    assert relay["Architectures"] == ["arm64"]
    assert relay["VpcConfig"]["SecurityGroupIds"]
    environment = relay["Environment"]["Variables"]
    assert environment["FEED_RELAY_URL"]["Fn::Sub"].startswith("rediss://relay@${Valkey.PrimaryEnd")
    assert environment["FEED_PASSWORD_SECRET"] == {"Ref": "FeedRelayPassword"}
    for function in resources.values():  # no function's configuration has a password
        if function["Type"] == "AWS::Serverless::Function":
            assert "resolve:secretsmanager" not in str(function["Properties"]["Environment"])
    assert "VpcConfig" not in resources["APIHandler"]["Properties"]
    policies = str([r for r in resources.values() if r["Type"] == "AWS::IAM::Role"])
    assert ":*:*:" not in policies
    assert "arn:aws:" not in policies
    assert (
        "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:usher-prod-launches" in policies
    )
    assert templates["valkey"]["Resources"]["RelayRecords"]["Properties"]["CodeUri"] != "s3://"
