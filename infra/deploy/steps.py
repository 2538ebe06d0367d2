"""The steps of a deployment: immutable records that a plan lists and the executor executes. Pure.

`commands` are the equivalent shell commands, for `--dry-run` and for manual execution; `${…}`
stands for a value of an earlier step.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Later:
    """A value of an earlier step: `STACK.Output`, or a name that the step defines."""

    name: str

    def __str__(self) -> str:
        return f"${{{self.name}}}"


Value = str | Later


@dataclass(frozen=True)
class DeployStack:
    """Create or update a stack; no effect if nothing changed.

    Sets the stack's outputs, as `STACK.Output`.
    """

    title: str
    stack: str
    template: Value
    """A file of the project, or its URL in S3."""
    parameters: Mapping[str, Value]

    def commands(self) -> list[str]:
        given = " ".join(f"{name}={value}" for name, value in self.parameters.items())
        return [
            f"aws cloudformation deploy --stack-name {self.stack} --template-file {self.template} "
            "--capabilities CAPABILITY_NAMED_IAM CAPABILITY_AUTO_EXPAND "
            f"--parameter-overrides {given} --no-fail-on-empty-changeset"
        ]


SIZE = "{{.Os}}/{{.Architecture}}: {{.Size}} bytes"
"""The format for `docker image inspect`."""

CONTENTS = ("docker", "run", "--rm", "-i", "--network", "none", "--entrypoint", "python3")
"""The command that runs contents.py in an image."""


@dataclass(frozen=True)
class EnsureImage:
    """Build and push an image of this project, unless the registry has this content.

    Sets its name by digest, as `finds_out`.
    """

    title: str
    repository: Value
    tag: str
    """The hash of its inputs: equal content is pushed once."""
    base_image: str
    platform: str
    finds_out: str = "image"
    dockerfile: str = "session_handler/Dockerfile"
    context: str = "session"
    """The name of its context in `infra.deploy.context`."""
    lock: str = "session_handler/requirements.lock"
    """The lock that its packages are compared with."""

    @property
    def build(self) -> list[str]:
        """The build command; it reads its context from stdin."""
        return [
            "docker", "build", "--platform", self.platform,
            "--build-arg", f"BASE_IMAGE={self.base_image}",
            "--file", self.dockerfile, "--tag", f"{self.repository}:{self.tag}", "-",
        ]  # fmt: skip

    def commands(self) -> list[str]:
        name = f"{self.repository}:{self.tag}"
        return [
            f"python -m infra.deploy.context {self.context} | "
            + shlex.join(self.build).replace("'", ""),
            f"docker image inspect --format '{SIZE}' {name}",
            f"{' '.join(CONTENTS)} {name} - < infra/deploy/contents.py",
            f"aws ecr get-login-password | docker login --username AWS --password-stdin {name}",
            f"docker push {name}",
        ]


@dataclass(frozen=True)
class Package:
    """Package the functions with Chalice, complete the template, upload both.

    Sets `template`, its URL in S3.
    """

    title: str
    stage: str
    environment: Mapping[str, str]
    """Variables that app.py needs at import: authorisation and kind of feed."""
    bucket: Value
    architecture: str

    def commands(self) -> list[str]:
        given = "".join(f"{name}={shlex.quote(v)} " for name, v in self.environment.items())
        return [
            "python -m infra.deploy.functions build/project   # a copy without requirements.txt",
            "pip install --require-hashes --only-binary :all: --requirement requirements.lock "
            f"--target build/project/vendor …   # for Lambda on {self.architecture}",
            f"{given}chalice --project-dir build/project package --stage {self.stage} "
            "--merge-template infra/template.yaml --template-format yaml build/package",
            f"aws s3 cp build/package/deployment.zip s3://{self.bucket}/",
            f"aws s3 cp build/package/template.json s3://{self.bucket}/",
        ]


@dataclass(frozen=True)
class CheckAppNames:
    """Stop if a name of the apps file is registered by `usher deploy` too."""

    title: str
    stage: str

    def commands(self) -> list[str]:
        return [
            f"aws ecs list-task-definition-families --family-prefix usher-{self.stage}-app- "
            "--status ACTIVE   # none may be called like an app of the apps file"
        ]


@dataclass(frozen=True)
class RegisterTaskDefinitions:
    """Register a new revision of every app whose task definition differs from the newest one."""

    title: str
    stage: str
    architecture: str
    images: Mapping[str, Value]
    roles: Mapping[str, Value] = field(default_factory=dict)
    """`execution`, and `session` for the apps whose feed needs it."""
    log_group: Value = ""
    feed_url: str = ""
    """The deployment's; only its kind matters."""
    feed_password: Value = ""
    """ARN of the secret with the sessions' password, if the feed needs one."""

    def commands(self) -> list[str]:
        return [
            f"aws ecs register-task-definition --family usher-{self.stage}-APP --cli-input-json "
            "$(chalicelib.ecs.task_definitions.task_definition_for)   # for every app that changed"
        ]


@dataclass(frozen=True)
class FindS3PrefixList:
    """The region's prefix list of S3, which hosts of judges may reach.

    Sets `s3_prefix_list`.
    """

    title: str
    region: str

    @property
    def name(self) -> str:
        """Its name in AWS."""
        return f"com.amazonaws.{self.region}.s3"

    def commands(self) -> list[str]:
        return [
            "aws ec2 describe-managed-prefix-lists "
            f"--filters Name=prefix-list-name,Values={self.name}"
        ]


@dataclass(frozen=True)
class RegisterJudge:
    """Register a new revision of the judge if its task definition differs from the newest one."""

    title: str
    stage: str
    architecture: str
    image: Value
    task_role: Value
    execution_role: Value
    log_group: Value

    def commands(self) -> list[str]:
        return [
            f"aws ecs register-task-definition --family usher-{self.stage}_judge --cli-input-json "
            "$(chalicelib.jobs.judge.judge_task_definition)   # if it changed"
        ]


@dataclass(frozen=True)
class WaitForHosts:
    """Wait until enough hosts have joined the cluster, and the pools are full."""

    title: str
    stage: str
    minimum: int

    def commands(self) -> list[str]:
        return [
            f"aws ecs describe-clusters --clusters usher-{self.stage}   "
            f"# until {self.minimum} hosts have joined",
            f"aws dynamodb query --table-name usher-{self.stage}-sessions --index-name pool …   "
            "# until every pool has its minimum",
        ]


@dataclass(frozen=True)
class SmokeTest:
    """Request a session, open its websocket, close it, and wait for its end."""

    title: str
    endpoint: Value

    def commands(self) -> list[str]:
        return [f"python -m infra.deploy.smoke {self.endpoint}"]


@dataclass(frozen=True)
class ReleaseHosts:
    """Remove the scale-in protection of all hosts, without which a stack with them cannot be
    deleted.
    """

    title: str
    group: str

    def commands(self) -> list[str]:
        return [
            f"aws autoscaling set-instance-protection --auto-scaling-group-name {self.group} "
            "--no-protected-from-scale-in --instance-ids …",
            f"aws autoscaling update-auto-scaling-group --auto-scaling-group-name {self.group} "
            "--min-size 0 --desired-capacity 0",
        ]


@dataclass(frozen=True)
class EndTasks:
    """Stop all tasks of the cluster, and deregister all revisions of its apps."""

    title: str
    stage: str

    def commands(self) -> list[str]:
        return [
            f"aws ecs stop-task --cluster usher-{self.stage} --task …   # every one",
            f"aws ecs deregister-task-definition --task-definition usher-{self.stage}-…   "
            "# every one",
        ]


@dataclass(frozen=True)
class DeleteStack:
    """Delete a stack and wait for its end; no error if it does not exist."""

    title: str
    stack: str

    def commands(self) -> list[str]:
        return [
            f"aws cloudformation delete-stack --stack-name {self.stack}",
            f"aws cloudformation wait stack-delete-complete --stack-name {self.stack}",
        ]


@dataclass(frozen=True)
class DeleteBucket:
    """Empty and delete the bucket in a stack's output, before the stack is deleted."""

    title: str
    stack: str
    output: str
    empties_only: bool = False
    """The stack itself deletes it then."""

    def commands(self) -> list[str]:
        verb = "rm --recursive" if self.empties_only else "rb --force"
        return [f"aws s3 {verb} s3://${{{self.stack}.{self.output}}}"]


@dataclass(frozen=True)
class ShowChanges:
    """Show the changes of a stack's deployment, by a change set that is deleted again."""

    title: str
    stack: str
    template: Value
    parameters: Mapping[str, Value]

    def commands(self) -> list[str]:
        return [
            f"aws cloudformation create-change-set --stack-name {self.stack} "
            f"--template {self.template}",
            f"aws cloudformation describe-change-set --stack-name {self.stack}",
            f"aws cloudformation delete-change-set --stack-name {self.stack}",
        ]


Step = (
    DeployStack
    | EnsureImage
    | Package
    | CheckAppNames
    | RegisterTaskDefinitions
    | FindS3PrefixList
    | RegisterJudge
    | WaitForHosts
    | SmokeTest
    | ReleaseHosts
    | EndTasks
    | DeleteStack
    | DeleteBucket
    | ShowChanges
)
Found = dict[str, Any]
"""The results of the steps so far."""
