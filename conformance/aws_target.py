"""The suite on AWS: a throw-away stage that is deployed, measured and destroyed.

The stage is made in a copy of this project, because it has its own stage file, policies and apps
file, which are not committed. `infra.deploy` of the copy deploys and destroys it.
"""

import base64
import hashlib
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.local_target import ROOT, apps_file, instance_of, job_project
from conformance.target import BrokenPromiseError, Limits, NotHereError
from infra.policies import rename

STAGE = "trial"
CALLER = "conformance"
"""The suite's name as a caller: an operator, with an API key made for this run."""

COPIED = (
    "app.py", "chalicelib", "session_handler", "usher", "infra", "local", ".chalice",
    "requirements.txt", "requirements.lock", "requirements-run.txt", "pyproject.toml",
)  # fmt: skip
PARAMETERS: Mapping[str, str] = {
    "MinHosts": "1",
    "MaxHosts": "1",
    "InstanceType": "t3.large",
    "Feed": "valkey",
    "LogRetentionDays": "1",
    "SessionUrlTemplate": "ws://{ip}:{port}{path}",
    "AuthMode": "api_key",
    "Operators": CALLER,
}
"""Parameters of infra/template.yaml. One host at a time: `full_cluster` fills its two cores."""


@dataclass(frozen=True)
class Plan:
    """The commands before and after the checks."""

    project: Path
    stage: str
    python: str = sys.executable

    def deploy(self) -> list[str]:
        """The command that builds the stage."""
        return [self.python, "-m", "infra.deploy", "deploy", "--stage", self.stage]

    def destroy(self) -> list[str]:
        """The command that ends it."""
        return [self.python, "-m", "infra.deploy", "destroy", "--stage", self.stage, "--yes"]

    def push_job(self, repository: str, job: str, url: str) -> list[list[str]]:
        """The commands that build, push and register the job's image. The first one reads the
        registry's password from stdin.
        """
        registry, image = repository.partition("/")[0], f"{repository}:conformance"
        usher = [self.python, "-m", "usher", "deploy", "--project", job, "--url", url]
        return [
            ["docker", "login", "--username", "AWS", "--password-stdin", registry],
            [*usher, "--image", image, "--push"],
        ]


def prepare(folder: Path, stage: str, parameters: Mapping[str, str]) -> Path:
    """Copy the project, and add the stage to the copy. Returns the copy's directory."""
    project = folder / "usher"
    project.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "deployments", "*.pyc", "node_modules")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, project / name, ignore=ignored)
        else:
            shutil.copy(source, project / name)
    apps_file(project / "chalicelib", stage, fargate=True)
    _add_stage(project / ".chalice", stage)
    lines = [
        f"{name} = {value if value.isdecimal() else json.dumps(value)}"
        for name, value in parameters.items()
    ]
    text = 'architecture = "x86_64"\nbase_image = "python:3.12-slim"\n\n[parameters]\n'
    stages = project / "infra" / "stages"
    (stages / f"{stage}.toml").write_text(text + "\n".join(lines) + "\n", "utf-8")
    return project


def _add_stage(folder: Path, stage: str) -> None:
    """Add the stage to Chalice's configuration, like `dev`, with its own policies."""
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    text = json.dumps(config["stages"]["dev"])
    made = json.loads(text.replace("policy-dev-", f"policy-{stage}-"))
    made["environment_variables"]["STAGE"] = stage
    config["stages"][stage] = made
    path.write_text(json.dumps(config, indent=2), "utf-8")
    for policy in sorted(folder.glob("policy-dev-*.json")):
        target = policy.with_name(policy.name.replace("policy-dev-", f"policy-{stage}-", 1))
        target.write_text(rename(policy.read_text("utf-8"), stage), "utf-8")


class AwsTarget:
    """A context manager: the stage exists inside it, and is destroyed at its end unless kept."""

    name = "AWS"
    limits = Limits(cold=300.0, end=300.0, host=900.0)

    def __init__(
        self,
        say: Callable[[str], None],
        *,
        stage: str = STAGE,
        keep: bool = False,
        tls: bool = False,
        parameters: Mapping[str, str] | None = None,
        run: Callable[..., Any] = subprocess.run,
        session: Any = None,
    ) -> None:
        """`run` is like subprocess.run, `session` a boto3 session; tests replace both."""
        self.stage = stage
        self.url = ""
        self._say = say
        self._keep = keep
        self._tls = tls
        key = secrets.token_urlsafe(32)
        self.headers: Mapping[str, str] = {"X-Api-Key": key}
        self._parameters = {**PARAMETERS, "ApiKeys": hash_of(key), **(parameters or {})}
        self._run = run
        self._session = session
        self._undo = ExitStack()

    def __enter__(self) -> "AwsTarget":
        if self._session is None:
            import boto3

            self._session = boto3.session.Session()
        self._folder = Path(self._undo.enter_context(tempfile.TemporaryDirectory(prefix="usher-")))
        self._plan = Plan(prepare(self._folder, self.stage, self._parameters), self.stage)
        self._undo.callback(self._destroy)
        try:
            self._command(self._plan.deploy())
            self.url = self._output(f"usher-{self.stage}", "EndpointURL").rstrip("/")
        except BaseException:
            self._undo.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def client(self, service: str) -> Any:
        """A boto3 client of this account."""
        return self._session.client(service)

    def deploy_job(self) -> None:
        """Build the job's image, push it to the stage's repository, register it by its digest."""
        repository = self._output(f"usher-{self.stage}-foundation", "JobsRepositoryUri")
        (data,) = self.client("ecr").get_authorization_token()["authorizationData"]
        password = base64.b64decode(data["authorizationToken"]).decode().partition(":")[2]
        job = str(job_project(self._folder))
        login, deploy = self._plan.push_job(repository, job, self.url)
        self._command(login, stdin=password)
        self._command(deploy)

    def kill_a_host(self, task_arn: str) -> None:
        """Terminate the instance: the group brings another one."""
        cluster = f"usher-{self.stage}"
        instance = instance_of(self.client("ecs"), cluster, task_arn)
        self.client("ec2").terminate_instances(InstanceIds=[instance])

    def has_fargate(self) -> None:
        return

    def has_fan_out(self) -> None:
        if self._parameters["Feed"] != "valkey":
            raise NotHereError("the stage has Feed = kinesis")

    def has_tls(self) -> None:
        if not self._tls:
            raise NotHereError("needs a name and a certificate: --tls, and --parameter for both")

    def has_alarms(self) -> None:
        return

    def _output(self, stack: str, name: str) -> str:
        (found,) = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        outputs = {one["OutputKey"]: str(one["OutputValue"]) for one in found["Outputs"]}
        return outputs[name]

    def _destroy(self) -> None:
        if self._keep:
            kept = ROOT / "build" / f"conformance-{self.stage}"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(self._plan.project, kept)
            self._say(
                f"stage {self.stage} stays, and costs. To end it, in its copy of this project, "
                f"{kept.relative_to(ROOT)}: {shlex.join(['python', *self._plan.destroy()[1:]])}"
            )
            return
        self._command(self._plan.destroy())

    def _command(self, command: list[str], stdin: str | None = None) -> None:
        self._say(shlex.join(command))
        done = self._run(
            command,
            cwd=self._plan.project,
            env={**_environment(), "USHER_API_KEY": self.headers["X-Api-Key"]},
            input=stdin,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BrokenPromiseError(f"{shlex.join(command)} ended with {done.returncode}")


def hash_of(key: str) -> str:
    """The parameter ApiKeys for the suite's key."""
    return f"{CALLER}:{hashlib.sha256(key.encode()).hexdigest()}"


def _environment() -> dict[str, str]:
    """The environment of the commands, without variables that would make the copy import the
    original.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def dry_run(parameters: Mapping[str, str], show: Callable[[str], None], stage: str = STAGE) -> None:
    """Show every command of a run, including those of the copy's `infra.deploy`.

    Raises BrokenPromiseError.
    """
    with tempfile.TemporaryDirectory(prefix="usher-") as folder:
        settings = {**PARAMETERS, "ApiKeys": hash_of("made for each run"), **parameters}
        project = prepare(Path(folder), stage, settings)
        plan = Plan(project, stage)
        for command in (plan.deploy(), plan.destroy()):
            show(f"$ {shlex.join(['python', *command[1:]])}")
            done = subprocess.run(
                [*command, "--dry-run"], cwd=project, env=_environment(),
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise BrokenPromiseError(done.stdout + done.stderr)
            for line in done.stdout.splitlines():
                show(f"    {line}")
            if command == plan.deploy():
                login, push = plan.push_job("${JobsRepositoryUri}", "JOB", "${EndpointURL}")
                show(f"$ {shlex.join(login)}")
                show(f"$ {shlex.join(['python', *push[1:]])}")
