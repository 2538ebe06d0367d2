"""What a cold start pays for: importing app.py brings no client of AWS, nor of Redis."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_importing_the_app_brings_no_client_with_it():
    script = "import sys, app; print(*sorted(sys.modules))"
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"boto3", "botocore.client", "redis", "urllib3", "ssl"}
    assert heavy.isdisjoint(told)
