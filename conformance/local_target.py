"""The suite on the embedded cloud: a separate `local up`, functions as in Lambda."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from conformance.target import BrokenPromiseError, Limits, NotHereError

ROOT = Path(__file__).parents[1]
PROJECT = Path(__file__).with_name("project")
STAGE = "local"
START_SECONDS = 120.0


def apps_file(folder: Path, stage: str, *, fargate: bool) -> Path:
    """Write the apps file of a stage."""
    here = Path(__file__)
    text = here.with_name("apps.toml").read_text("utf-8").replace("{stage}", stage)
    if fargate:
        text += here.with_name("fargate.toml").read_text("utf-8")
    path = folder / "apps.toml"
    path.write_text(text, "utf-8")
    return path


def job_project(folder: Path) -> Path:
    """Copy the job's project, with the Dockerfile that `usher new` gives one."""
    project = folder / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "usher" / "Dockerfile", project)
    return project


def usher(*arguments: str, url: str) -> None:
    """Run the command line of `usher`. Raises BrokenPromiseError."""
    command = [sys.executable, "-m", "usher", *arguments, "--url", url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BrokenPromiseError(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")


class LocalTarget:
    """A context manager: the cloud runs inside it."""

    name = "embedded cloud"
    stage = STAGE
    limits = Limits(cold=60.0, end=60.0, host=60.0)

    def __init__(self, functions: str = "lambda") -> None:
        self._functions = functions
        self._undo = ExitStack()
        self.url = ""
        self.headers: Mapping[str, str] = {}

    def __enter__(self) -> "LocalTarget":
        self._folder = Path(self._undo.enter_context(tempfile.TemporaryDirectory(prefix="usher-")))
        self._folder.chmod(0o755)
        apps = apps_file(self._folder, STAGE, fargate=sys.platform == "linux")
        command = [sys.executable, "-m", "local", "up", "--port", "0", "--aws-port", "0"]
        command += ["--feed", "none", "--apps", str(apps), "--functions", self._functions]
        command += ["--hosts", "2", "--host-cpu", "2048", "--host-memory", "4096"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._undo.callback(self._stop)
        self.log: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()
        watchdog = threading.Timer(START_SECONDS, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline() if self._process.stdout else ""
        watchdog.cancel()
        if not line.startswith("READY "):
            self._undo.close()
            raise BrokenPromiseError("the embedded cloud did not start: " + "".join(self.log[-20:]))
        self._ready = json.loads(line.removeprefix("READY "))
        self.url = str(self._ready["dispatcher"])
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _listen(self) -> None:
        if self._process.stderr:
            self.log.extend(self._process.stderr)

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def client(self, service: str) -> Any:
        """A boto3 client with the developer's key."""
        import boto3

        return boto3.session.Session().client(
            service,
            endpoint_url=self._ready["aws"],
            region_name=self._ready["region"],
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def deploy_job(self) -> None:
        """The directory itself: the embedded cloud builds it."""
        usher("deploy", "--project", str(job_project(self._folder)), url=self.url)

    def kill_a_host(self, task_arn: str) -> None:
        """Kill the host, with the switch of the embedded cloud."""
        instance = instance_of(self.client("ecs"), f"usher-{STAGE}", task_arn)
        with urllib.request.urlopen(f"{self._ready['aws']}/_local/state") as answer:
            hosts = json.loads(answer.read())["hosts"]
        (name,) = [host["name"] for host in hosts if host["ec2InstanceId"] == instance]
        kill = urllib.request.Request(
            f"{self._ready['aws']}/_local/hosts/{name}/kill", b"{}", method="POST"
        )
        urllib.request.urlopen(kill).close()

    def has_fargate(self) -> None:
        if sys.platform != "linux":
            raise NotHereError("only Linux has addresses for tasks on Fargate (127.64.0.0/10)")

    def has_fan_out(self) -> None:
        if self._ready["feed"] != "redis":
            raise NotHereError("Redis is not installed")

    def has_tls(self) -> None:
        raise NotHereError(
            "tests/attacks/test_who_listens_on_the_network.py has an authority of its own"
        )

    def has_alarms(self) -> None:
        raise NotHereError("it builds no alarms; tests/unit/infra/ checks them")


def instance_of(ecs: Any, cluster: str, task_arn: str) -> str:
    """The EC2 instance that a task runs on."""
    (task,) = ecs.describe_tasks(cluster=cluster, tasks=[task_arn])["tasks"]
    host = ecs.describe_container_instances(
        cluster=cluster, containerInstances=[task["containerInstanceArn"]]
    )
    return str(host["containerInstances"][0]["ec2InstanceId"])


def versions() -> str:
    """The versions of the embedded cloud's components."""
    from importlib.metadata import version

    found = ", ".join(f"{name} {version(name)}" for name in ("moto", "boto3", "chalice"))
    return f"Python {sys.version.split()[0]}, {found}, {os.uname().machine}"
