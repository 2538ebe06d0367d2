"""Executes a plan: the only module of a deployment that changes anything."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.config import cluster_name, judges_cluster_name, load_config
from chalicelib.contract.jobs import JUDGE_JOB
from chalicelib.dynamodb.records import only_readable
from chalicelib.ecs.task_definitions import Deployment
from chalicelib.jobs.task_definitions import family_of
from chalicelib.sessions.model import State
from chalicelib.sessions.table import SessionsTable
from infra.deploy import contents, steps
from infra.deploy.context import CONTEXTS
from infra.deploy.finish import finish
from infra.deploy.functions import copy_project, install_command
from infra.deploy.revisions import check_names, register, register_judge
from infra.deploy.smoke import smoke
from infra.deploy.stacks import DeployError, Stacks
from infra.supply import bills
from local.aws.template import load_template

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 600
POLL_SECONDS = 5.0


def run_command(
    argv: Sequence[str],
    stdin: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    output: Path | None = None,
) -> None:
    """Run a command; its output goes to stderr, or into the file `output`. Raises DeployError."""
    try:
        with output.open("wb") if output else nullcontext(sys.stderr) as stdout:
            done = subprocess.run(
                argv,
                input=stdin,
                env={**os.environ, **(environment or {})},
                cwd=ROOT,
                stdout=stdout,
                check=False,
            )
    except FileNotFoundError as error:
        raise DeployError(f"there is no command {argv[0]!r} here; install it") from error
    if done.returncode:
        raise DeployError(f"`{' '.join(argv)}` ended with {done.returncode}; its words are above")


@dataclass(frozen=True)
class Environment:
    """The external interfaces of a deployment, which tests replace."""

    client: Callable[[str], Any]
    """Service to boto3 client."""
    say: Callable[[str], None]
    run: Callable[..., None] = run_command
    smoke: Callable[[str, Callable[[str], None]], None] = smoke
    sleep: Callable[[float], None] = time.sleep
    folder: Path = ROOT / "build"


class Executor:
    """Executes steps one after the other; their results are kept for later steps."""

    def __init__(self, environment: Environment, region: str) -> None:
        self._environment = environment
        self._region = region
        self._found: dict[str, str] = {}
        self._stacks = Stacks(
            environment.client("cloudformation"), environment.say, environment.sleep
        )

    def execute(self, plan: Sequence[steps.Step]) -> None:
        """Execute all steps. Raises DeployError at the first step that fails; botocore's errors
        too.
        """
        for number, step in enumerate(plan, 1):
            self._environment.say(f"{number}/{len(plan)} {step.title}")
            self._carry_out(step)

    def _carry_out(self, step: steps.Step) -> None:
        how: dict[type, Callable[[Any], None]] = {
            steps.DeployStack: self._deploy_stack,
            steps.EnsureImage: self._ensure_image,
            steps.Package: self._package,
            steps.CheckAppNames: self._check_names,
            steps.RegisterTaskDefinitions: self._register,
            steps.FindS3PrefixList: self._find_prefix_list,
            steps.RegisterJudge: self._register_judge,
            steps.WaitForHosts: self._wait,
            steps.SmokeTest: self._smoke,
            steps.ShowChanges: self._show_changes,
            steps.ReleaseHosts: self._release,
            steps.EndTasks: self._end_tasks,
            steps.DeleteStack: self._delete_stack,
            steps.DeleteBucket: self._delete_bucket,
        }
        how[type(step)](step)

    def _deploy_stack(self, step: steps.DeployStack) -> None:
        changed = self._stacks.deploy(step.stack, *self._template_of(step))
        self._environment.say("  done" if changed else "  nothing to change")
        self._read_outputs(step.stack)

    def _delete_stack(self, step: steps.DeleteStack) -> None:
        self._stacks.delete(step.stack)

    def _smoke(self, step: steps.SmokeTest) -> None:
        self._environment.smoke(self._value(step.endpoint), self._environment.say)

    def _value(self, value: steps.Value) -> str:
        if isinstance(value, str):
            return value
        if value.name not in self._found:
            raise DeployError(f"{value} is not known: an earlier step should have found it out")
        return self._found[value.name]

    def _read_outputs(self, stack: str) -> None:
        for name, value in self._stacks.outputs(stack).items():
            self._found[f"{stack}.{name}"] = value

    def _template_of(
        self, step: steps.DeployStack | steps.ShowChanges
    ) -> tuple[str, dict[str, str]]:
        template = self._value(step.template)
        if not template.startswith("https://"):
            template = str(ROOT / template)
        return template, {name: self._value(v) for name, v in step.parameters.items()}

    def _show_changes(self, step: steps.ShowChanges) -> None:
        if not self._stacks.outputs(step.stack) and isinstance(step.template, str):
            self._environment.say("  all of it is new; `make deploy` makes this part first")
            raise DeployError(f"there is no stack {step.stack} to compare with")
        self._found["current_image"] = self._stacks.parameter(step.stack, "SessionImage")
        lines = self._stacks.changes(step.stack, *self._template_of(step))
        for line in lines or ["nothing"]:
            self._environment.say(f"  {line}")
        self._read_outputs(step.stack)

    def _ensure_image(self, step: steps.EnsureImage) -> None:
        repository = self._value(step.repository)
        digest = self._digest(repository, step.tag)
        if digest is None:
            name = f"{repository}:{step.tag}"
            argv = [*step.build[: step.build.index("--tag") + 1], name, "-"]
            self._environment.run(argv, stdin=CONTEXTS[step.context]())
            self._tell_contents(step, name)
            self._login(repository)
            self._environment.run(["docker", "push", name])
            digest = self._digest(repository, step.tag)
            if digest is None:
                raise DeployError(f"{name} was pushed, and the registry does not know it")
        else:
            self._environment.say(f"  the registry has this content already, as {step.tag}")
        self._found[step.finds_out] = f"{repository}@{digest}"

    def _tell_contents(self, step: steps.EnsureImage, name: str) -> None:
        self._environment.run(["docker", "image", "inspect", "--format", steps.SIZE, name])
        self._environment.folder.mkdir(parents=True, exist_ok=True)
        bill = self._environment.folder / f"{step.tag}.cdx.json"
        self._environment.run(
            [*steps.CONTENTS, name, "-"],
            stdin=Path(contents.__file__).read_bytes(),
            output=bill,
        )
        if problems := bills.compare(step.lock, bill):
            raise DeployError(f"{name} is not what its lock says: {'; '.join(problems)}")
        self._environment.say(f"  what is in it: {bill}")

    def _digest(self, repository: str, tag: str) -> str | None:
        try:
            answer = self._environment.client("ecr").describe_images(
                repositoryName=repository.partition("/")[2], imageIds=[{"imageTag": tag}]
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ImageNotFoundException":
                return None
            raise
        return str(answer["imageDetails"][0]["imageDigest"])

    def _login(self, repository: str) -> None:
        answer = self._environment.client("ecr").get_authorization_token()
        token = base64.b64decode(answer["authorizationData"][0]["authorizationToken"])
        registry = repository.partition("/")[0]
        self._environment.run(
            ["docker", "login", "--username", "AWS", "--password-stdin", registry],
            stdin=token.partition(b":")[2],
        )

    def _package(self, step: steps.Package) -> None:
        folder = self._environment.folder / "package"
        project = self._environment.folder / "project"
        copy_project(project)
        self._environment.run(install_command(project, step.architecture))
        bill = self._environment.folder / "functions.cdx.json"
        bills.write_bill_of_folder(project / "vendor", bill)
        if problems := bills.compare("requirements.lock", bill):
            raise DeployError(f"the functions' package is not the lock: {'; '.join(problems)}")
        program = str(Path(sys.executable).with_name("chalice"))
        chalice = [program, "--project-dir", str(project.resolve()), "package"]
        template = ["--merge-template", str(ROOT / "infra" / "template.yaml")]
        template += ["--template-format", "yaml"]
        self._environment.run(
            [*chalice, "--stage", step.stage, *template, str(folder.resolve())],
            environment={"AWS_DEFAULT_REGION": self._region, **step.environment},
        )
        bucket = self._value(step.bucket)
        code = self._upload(bucket, (folder / "deployment.zip").read_bytes(), ".zip")
        finished = finish(
            load_template((folder / "sam.yaml").read_text("utf-8")),
            code=f"s3://{bucket}/{code}",
            architecture=step.architecture,
        )
        text = json.dumps(finished, indent=1, sort_keys=True)
        (folder / "template.json").write_text(text, "utf-8")
        key = self._upload(bucket, text.encode(), ".json")
        self._found["template"] = f"https://{bucket}.s3.{self._region}.amazonaws.com/{key}"

    def _upload(self, bucket: str, content: bytes, suffix: str) -> str:
        key = hashlib.sha256(content).hexdigest()[:32] + suffix
        self._environment.client("s3").put_object(Bucket=bucket, Key=key, Body=content)
        return key

    def _check_names(self, step: steps.CheckAppNames) -> None:
        check_names(self._environment.client("ecs"), step.stage)

    def _register(self, step: steps.RegisterTaskDefinitions) -> None:
        changed = register(
            self._environment.client("ecs"),
            stage=step.stage,
            region=self._region,
            architecture=step.architecture,
            images={name: self._value(v) for name, v in step.images.items()},
            roles={name: self._value(v) for name, v in step.roles.items()},
            log_group=self._value(step.log_group),
            feed_url=step.feed_url,
            feed_password=self._value(step.feed_password),
        )
        for arn in changed or ["nothing to change"]:
            self._environment.say(f"  {arn}")

    def _find_prefix_list(self, step: steps.FindS3PrefixList) -> None:
        filters = [{"Name": "prefix-list-name", "Values": [step.name]}]
        ec2 = self._environment.client("ec2")
        found = ec2.describe_managed_prefix_lists(Filters=filters)["PrefixLists"]
        if len(found) != 1:
            raise DeployError(f"{len(found)} prefix lists are called {step.name}")
        self._found["s3_prefix_list"] = str(found[0]["PrefixListId"])

    def _register_judge(self, step: steps.RegisterJudge) -> None:
        changed = register_judge(
            self._environment.client("ecs"),
            stage=step.stage,
            region=self._region,
            image=self._value(step.image),
            task_role=self._value(step.task_role),
            deployment=Deployment(
                self._region,
                self._value(step.log_group),
                self._value(step.execution_role),
                step.architecture,
            ),
        )
        self._environment.say(f"  {changed or 'nothing to change'}")

    def _wait(self, step: steps.WaitForHosts) -> None:
        config = load_config({"STAGE": step.stage, "AWS_REGION": self._region})
        table = SessionsTable(self._environment.client("dynamodb"), config.sessions_table)
        for _ in range(int(WAIT_SECONDS / POLL_SECONDS)):
            missing = self._missing_hosts(config.cluster, step.minimum)
            for app in config.apps.by_name.values() if not missing else ():
                if app.pool.minimum:
                    members = only_readable(table.query_all(app.name)[1])
                    warm = sum(session.state is State.WARM for session in members)
                    if warm < app.pool.minimum:
                        missing = f"pool of {app.name}: {warm} of {app.pool.minimum} are warm"
            if not missing:
                return
            self._environment.say(f"  {missing}")
            self._environment.sleep(POLL_SECONDS)
        raise DeployError(
            f"{missing} after {WAIT_SECONDS} s. Hosts: look at the Auto Scaling group's activity "
            "(quota, instance type). Pools: GET /session says why starts fail"
        )

    def _missing_hosts(self, cluster: str, minimum: int) -> str:
        if not minimum:
            return ""
        answer = self._environment.client("ecs").describe_clusters(clusters=[cluster])["clusters"]
        joined = answer[0]["registeredContainerInstancesCount"] if answer else 0
        return "" if joined >= minimum else f"{joined} of {minimum} hosts have joined {cluster}"

    def _release(self, step: steps.ReleaseHosts) -> None:
        client, group = self._environment.client("autoscaling"), step.group
        found = client.describe_auto_scaling_groups(AutoScalingGroupNames=[group])
        for known in found["AutoScalingGroups"]:
            ids = [instance["InstanceId"] for instance in known["Instances"]]
            for start in range(0, len(ids), 50):  # the maximum of one call
                client.set_instance_protection(
                    AutoScalingGroupName=group,
                    InstanceIds=ids[start : start + 50],
                    ProtectedFromScaleIn=False,
                )
            client.update_auto_scaling_group(
                AutoScalingGroupName=group, MinSize=0, DesiredCapacity=0
            )

    def _end_tasks(self, step: steps.EndTasks) -> None:
        client = self._environment.client("ecs")
        for cluster in (cluster_name(step.stage), judges_cluster_name(step.stage)):
            try:
                for page in client.get_paginator("list_tasks").paginate(cluster=cluster):
                    for arn in page["taskArns"]:
                        client.stop_task(cluster=cluster, task=arn, reason="the stage is destroyed")
            except ClientError as error:
                if error.response["Error"]["Code"] != "ClusterNotFoundException":
                    raise
        for prefix in (f"usher-{step.stage}-", family_of(JUDGE_JOB, step.stage)):
            self._deregister(client, prefix)

    def _deregister(self, client: Any, prefix: str) -> None:
        families = client.get_paginator("list_task_definition_families")
        for page in families.paginate(familyPrefix=prefix, status="ACTIVE"):
            for family in page["families"]:
                pages = client.get_paginator("list_task_definitions").paginate(familyPrefix=family)
                for arns in pages:
                    for arn in arns["taskDefinitionArns"]:
                        client.deregister_task_definition(taskDefinition=arn)

    def _delete_bucket(self, step: steps.DeleteBucket) -> None:
        bucket = self._stacks.outputs(step.stack).get(step.output)
        if bucket is None:
            return
        client = self._environment.client("s3")
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
            entries = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            keys = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in entries]
            if keys:
                client.delete_objects(Bucket=bucket, Delete={"Objects": keys})
        if not step.empties_only:
            client.delete_bucket(Bucket=bucket)
