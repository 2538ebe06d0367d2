"""A whole deployment against the embedded cloud, as far as its APIs go.

CloudFormation, S3, ECR and IAM are moto's, ECS is our engine, the websocket of the smoke test is a
real container's. `Registry` replaces Docker: tests cannot pull from or push to a registry, so its
commands are recorded, and the image is put into the registry.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from chalicelib.jobs.judge import ENGINE_SOCKET
from infra.deploy.contents import bill
from infra.deploy.execute import Environment, Executor, run_command
from infra.deploy.plan import plan_deploy, plan_destroy, plan_diff
from infra.deploy.settings import Settings
from infra.deploy.smoke import smoke
from infra.deploy.stacks import DeployError
from infra.deploy.steps import RegisterTaskDefinitions
from infra.supply.bills import packages_of
from tests.integration.conftest import ROOT, RunningCloud
from tests.integration.sessions import client_of, dispatch, wait_for
from tests.unit.infra.code_calls import actions_of, read_code

STAGE = "dev"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"size": 1, "digest": "sha256:" + "0" * 64},
        "layers": [{"size": 1, "digest": "sha256:" + "1" * 64}],
    }
)


@dataclass
class Registry:
    """Runs Chalice; records the commands of Docker instead of running them."""

    cloud: RunningCloud
    commands: list[str] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)
    """Packages of the image whose versions differ from the lock's."""

    def run(
        self,
        argv: list[str],
        stdin: bytes | None = None,
        environment: Any = None,
        output: Path | None = None,
    ) -> None:
        if argv[0] != "docker":
            run_command(argv, stdin, environment)
            return
        self.commands.append(" ".join(argv[:2]))
        if argv[:2] == ["docker", "run"]:  # the lock's packages, unless a test sets others
            is_judge = any("usher-judge" in word for word in argv)
            room = "usher" if is_judge else "session_handler"
            packages = packages_of(f"{room}/requirements.lock", "3.12.1") | self.others
            output.write_text(json.dumps(bill(packages, {}, "3.12.1")), "utf-8")
        if argv[1] == "push":
            name, _, tag = argv[2].partition("/")[2].rpartition(":")
            self.cloud.client("ecr").put_image(
                repositoryName=name, imageManifest=MANIFEST, imageTag=tag
            )


class Untransformed:
    """moto's CloudFormation, without support for SAM and for references to SAM's functions."""

    def __init__(self, cloud: RunningCloud) -> None:
        self._cloud = cloud
        self._client = cloud.client("cloudformation")

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name == "delete_stack":
            return self._delete_stack
        if name not in {"create_stack", "update_stack", "create_change_set"}:
            return method
        return lambda **request: method(**self._without_functions(request))

    def _delete_stack(self, **request: Any) -> None:
        if request["StackName"].endswith("-foundation"):  # EmptyOnDelete is not known either
            ecr, name = self._cloud.client("ecr"), "usher-dev/usher-session"
            images = ecr.list_images(repositoryName=name)["imageIds"]
            if images:
                ecr.batch_delete_image(repositoryName=name, imageIds=images)
        self._client.delete_stack(**request)

    def _without_functions(self, request: dict[str, Any]) -> dict[str, Any]:
        if "TemplateURL" not in request:
            return request
        bucket, key = request.pop("TemplateURL").removeprefix("https://").split("/")
        found = self._cloud.client("s3").get_object(Bucket=bucket.partition(".")[0], Key=key)
        template = json.loads(found["Body"].read())
        del template["Outputs"]["APIHandlerArn"]
        for function in ("APIHandler", "Callbacks"):
            del template["Resources"][f"{function}InvokePermission"]
        del template["Resources"]["JudgesAPIInvokePermission"]
        template = divided(template)
        return request | {"TemplateBody": json.dumps(template)}


def divided(node: Any) -> Any:
    """A template with the networks that Fn::Cidr makes of the judges' one."""
    if isinstance(node, list):
        return [divided(part) for part in node]
    if not isinstance(node, dict):
        return node
    if set(node) == {"Fn::Cidr"}:
        _, count, _ = node["Fn::Cidr"]
        return [f"10.91.{number}.0/24" for number in range(int(count))]
    return {key: divided(value) for key, value in node.items()}


@dataclass
class Deployer:
    cloud: RunningCloud
    folder: Path
    said: list[str] = field(default_factory=list)
    smoked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry = Registry(self.cloud)

    def settings(self, **parameters: str) -> Settings:
        """Stage dev in the network that is there; moto divides none (Fn::Cidr)."""
        ec2 = self.cloud.client("ec2")
        subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
        place = {
            "VpcId": ec2.describe_vpcs()["Vpcs"][0]["VpcId"],
            "SubnetIds": ",".join(subnets[:2]),
            "AuthMode": "none",
            "SessionUrlTemplate": "ws://{ip}:{port}{path}",
        }
        return Settings(STAGE, "us-east-1", parameters={"MinHosts": "0", **place, **parameters})

    def execute(self, plan: Any) -> str:
        """Carry out a plan and return its output."""
        self.said.clear()
        environment = Environment(
            client=self._client,
            say=self.said.append,
            run=self.registry.run,
            smoke=self._smoke,
            sleep=lambda seconds: None,
            folder=self.folder,
        )
        Executor(environment, "us-east-1").execute(plan)
        return "\n".join(self.said)

    def _client(self, service: str) -> Any:
        if service == "cloudformation":
            return Untransformed(self.cloud)
        return self.cloud.client(service)

    def _smoke(self, url: str, say: Any) -> None:
        self.smoked.append(url)  # API Gateway's, where nothing is: the same app answers here
        smoke(self.cloud.dispatcher, say)


@pytest.fixture(scope="module")
def deployer(cloud: RunningCloud, tmp_path_factory: pytest.TempPathFactory) -> Deployer:
    return Deployer(cloud, tmp_path_factory.mktemp("build"))


def buckets_of(cloud):
    """Without the one of the cloud's own stage."""
    names = {bucket["Name"] for bucket in cloud.client("s3").list_buckets()["Buckets"]}
    return {name for name in names if not name.startswith("usher-local-")}


def test_a_deployment_a_repetition_a_look_and_the_end(deployer):
    cloud, plan = deployer.cloud, plan_deploy(deployer.settings(), "content1")

    first = deployer.execute(plan)
    assert "it ended as disconnected" in first
    did = ["docker build", "docker image", "docker run", "docker login", "docker push"]
    assert deployer.registry.commands == did
    assert ".execute-api." in deployer.smoked[0]
    definition = cloud.client("ecs").describe_task_definition(
        taskDefinition="usher-dev-listings", include=["TAGS"]
    )["taskDefinition"]
    (container,) = definition["containerDefinitions"]
    assert "/usher-dev/usher-session@sha256:" in container["image"].replace("dkr.", "", 1)
    assert container["logConfiguration"]["options"]["awslogs-group"] == "/usher/dev/sessions"
    assert definition["executionRoleArn"].endswith(":role/usher-dev-execution")
    tables = cloud.client("dynamodb").list_tables()["TableNames"]
    assert "usher-dev-sessions" in tables

    again = deployer.execute(plan)
    assert "the registry has this content already" in again
    assert again.count("nothing to change") == 2  # the first stack, and the task definitions
    # moto accepts an update without changes; the uploads show that there is none.
    buckets = buckets_of(cloud)
    (grading,) = (name for name in buckets if name.startswith("usher-dev-grading-"))
    (bucket,) = buckets - {grading}
    cloud.client("s3").put_object(Bucket=grading, Key="submissions/1/0.zip", Body=b"zip")
    uploaded = cloud.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert sorted(Path(entry["Key"]).suffix for entry in uploaded) == [".json", ".zip"]
    assert deployer.registry.commands == did
    newest = cloud.client("ecs").describe_task_definition(taskDefinition="usher-dev-listings")
    assert newest["taskDefinition"]["revision"] == definition["revision"]

    newest_event = cloud.client("cloudformation").describe_stack_events(StackName="usher-dev")[
        "StackEvents"
    ][0]["EventId"]
    look = deployer.execute(plan_diff(deployer.settings(ShardCount="3")))
    assert "everything that runs" in look
    events = cloud.client("cloudformation").describe_stack_events(StackName="usher-dev")
    assert events["StackEvents"][0]["EventId"] == newest_event  # a look changes nothing

    deployer.execute(plan_destroy(deployer.settings()))
    assert "usher-dev-sessions" not in cloud.client("dynamodb").list_tables()["TableNames"]
    families = cloud.client("ecs").list_task_definition_families(
        familyPrefix="usher-dev-", status="ACTIVE"
    )
    assert families["families"] == []
    assert buckets_of(cloud) == set()
    deployer.execute(
        plan_destroy(deployer.settings())
    )  # nothing is there any more, and that is no error


def test_a_failure_says_what_to_do(cloud, tmp_path):
    deployer = Deployer(cloud, tmp_path)
    plan = [
        replace(step, images={}) if isinstance(step, RegisterTaskDefinitions) else step
        for step in plan_deploy(deployer.settings(), "content2")
    ]
    with pytest.raises(DeployError, match="no registry is known for image"):
        deployer.execute(plan)
    deployer.execute(plan_destroy(deployer.settings()))


def test_a_deployment_with_graders_has_judges_on_hosts_of_their_own(deployer):
    """No stack is made after it: moto cannot delete its network, so it stays."""
    cloud = deployer.cloud
    settings = deployer.settings(Graders="ec2", GradersCidr="10.91.0.0/16")
    deployer.execute(plan_deploy(settings, "content2", "judge2"))
    ecs = cloud.client("ecs")
    found = ecs.describe_task_definition(taskDefinition="usher-dev_judge")["taskDefinition"]
    (container,) = found["containerDefinitions"]
    assert "/usher-dev/usher-judge@sha256:" in container["image"].replace("dkr.", "", 1)
    assert found["volumes"][0]["host"]["sourcePath"] == ENGINE_SOCKET
    assert found["taskRoleArn"].endswith(":role/usher-dev-judge")
    assert found["requiresCompatibilities"] == ["EC2"]
    networks = {each["CidrBlock"] for each in cloud.client("ec2").describe_vpcs()["Vpcs"]}
    assert "10.91.0.0/16" in networks
    groups = cloud.client("autoscaling").describe_auto_scaling_groups(
        AutoScalingGroupNames=["usher-dev-graders"]
    )
    assert len(groups["AutoScalingGroups"]) == 1


def test_the_smoke_test_tells_a_dispatcher_that_is_not_there():
    with pytest.raises(DeployError, match="does not answer"):
        smoke("http://127.0.0.1:9", lambda line: None)


def test_every_command_can_be_shown_and_none_is_run():
    shown = subprocess.run(
        [sys.executable, "-m", "infra.deploy", "deploy", "--stage", "dev", "--dry-run"],
        cwd=ROOT,
        env={"AWS_REGION": "eu-west-1", "PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = ("docker build", "docker push", "--require-hashes", "build/project package")
    for words in (*wanted, "aws cloudformation deploy"):
        assert words in shown.stdout


def run_deploy(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "infra.deploy", *words],
        cwd=ROOT,
        env={"PATH": "/nowhere", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("verb", ["deploy", "diff", "destroy"])
def test_a_plan_is_shown_without_region_or_account(verb, tmp_path):
    shown = run_deploy(verb, "--stage", "dev", "--dry-run", HOME=str(tmp_path))
    assert shown.returncode == 0
    assert shown.stderr == "AWS_REGION is not set: this plan assumes us-east-1\n"
    assert shown.stdout.startswith("# 1. ")
    named = run_deploy(verb, "--stage", "dev", "--dry-run", AWS_DEFAULT_REGION="eu-west-1")
    assert (named.returncode, named.stderr) == (0, "")


@pytest.mark.parametrize("verb", ["deploy", "diff", "destroy"])
def test_without_a_region_nothing_but_a_plan_is_possible(verb):
    refused = run_deploy(verb, "--stage", "dev", "--yes")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "AWS_REGION is not set" in refused.stderr


def test_the_help_needs_nothing():
    shown = run_deploy("--help")
    assert shown.returncode == 0
    assert "--dry-run" in shown.stdout


def test_what_is_called_in_a_sessions_whole_life_is_what_the_source_was_read_to_call(cloud):
    """The other half of tests/unit/infra/test_policies.py: the derivation misses nothing."""
    session = dispatch(cloud)
    with client_of(session):
        wait_for(cloud, session["id"], "ACTIVE")
    wait_for(cloud, session["id"], "ENDED")
    cloud.fire("sweep")
    code = read_code()
    derived = {action for function in code.entries for action in actions_of(code, function)}
    by_containers = {"kinesis:ListShards", "kinesis:GetShardIterator", "kinesis:GetRecords"}
    called = {call.replace(".", ":") for call in cloud.state()["calls"]}
    called -= {"dynamodb:TransactWriteItems"}  # no action of its own
    assert "ecs:RunTask" in called
    assert called <= derived | by_containers


def test_chalice_deploy_makes_every_function_with_its_own_policy(cloud, tmp_path):
    """Chalice's own way, in a copy: it writes down what it deployed.

    It comes as far as moto's API Gateway, which imports no document without a description.
    """
    for name in ("app.py", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("chalicelib", ".chalice"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for queue in ("launches", "schedules", "jobs-critical", "jobs-normal", "jobs-low"):
        cloud.client("sqs").create_queue(QueueName=f"usher-dev-{queue}")  # the template's part
    done = subprocess.run(
        [str(Path(sys.executable).with_name("chalice")), "deploy", "--stage", "dev"],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "AWS_ENDPOINT_URL": cloud.aws,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Creating Rest API" in done.stdout, done.stderr
    config = json.loads((ROOT / ".chalice" / "config.json").read_text("utf-8"))
    policies = config["stages"]["dev"]["lambda_functions"]
    for name in set(policies) - {"relay_records", "keep_feed_whole"}:  # of the fan-out feed
        role = f"usher-dev-{name}"
        made = cloud.client("iam").get_role_policy(RoleName=role, PolicyName=role)
        file = ROOT / ".chalice" / policies[name]["iam_policy_file"]
        assert made["PolicyDocument"] == json.loads(file.read_text("utf-8"))
    functions = cloud.client("lambda").list_functions()["Functions"]
    assert {function["FunctionName"] for function in functions} >= {
        "usher-dev",
        "usher-dev-launch_queued",
    }
