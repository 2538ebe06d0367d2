"""The cost of the dispatcher's cold start beyond Lambda's own: imports and the package."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.first_claim import measure_first_claim
from benchmarks.run import ROOT, Run, SkipError

GROUP = "function"
FLOOR = "floor: import boto3"
CLIENTS = "floor: boto3 and the four clients"
STARTS = {
    "floor: python": ("pass", None),
    FLOOR: ("import boto3", "floor: python"),
    "import app.py": ("import app", FLOOR),
    "import app.py and boto3": ("import app, boto3", FLOOR),
    CLIENTS: (
        "import boto3; s = boto3.session.Session(region_name='us-east-1'); "
        "[s.client(n) for n in ('dynamodb', 'sqs', 'ecs', 'ec2')]",
        FLOOR,
    ),
    "import app.py, all services built": (
        "import app; from chalicelib.wiring import services; services()",
        CLIENTS,
    ),
}


def measure_function(run: Run) -> None:
    """Fresh processes in turn, warm file cache; then the size of the package."""
    values: dict[str, list[float]] = {what: [] for what in STARTS}
    for number in range(run.many(20, 2) + 1):
        for what, (script, _) in STARTS.items():
            milliseconds = _start(script)
            if number:  # the first round warms the file cache
                values[what].append(milliseconds)
    for what, (_, floor) in STARTS.items():
        run.report.add(GROUP, what, "ms", values[what], floor)
    run.say("function: first claim")
    measure_first_claim(run)
    run.say("function: packaging")
    run.report.add(GROUP, "deployment package", "KiB", [_package() / 1024])


def _start(script: str) -> float:
    environment = {
        "PATH": os.environ["PATH"],
        "STAGE": "local",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
    }
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=True)
    return (time.perf_counter() - began) * 1000


def _package() -> int:
    chalice = str(Path(sys.executable).with_name("chalice"))
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [chalice, "package", "--stage", "dev", folder],
            cwd=ROOT,
            env=os.environ | {"AWS_DEFAULT_REGION": "us-east-1"},
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise SkipError("chalice could not package: " + done.stderr.decode()[-200:])
        return (Path(folder) / "deployment.zip").stat().st_size
