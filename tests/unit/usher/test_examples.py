"""The example projects' own tests, run in a project's folder as after a copy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "folder", ["jobs", *(f"sessions/{name}" for name in ("listing-map", "python-repl", "chat"))]
)
def test_the_examples_pass_their_own_tests(folder):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "."],
        cwd=ROOT / "examples" / folder,
        env={**without_pytest(os.environ), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def without_pytest(environment):
    """Returns the environment without this pytest run's variables."""
    return {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
