"""The handlers that Lambda calls: the module attribute that each function's handler names,
registered or not.

Chalice deploys a blueprint's function as `MODULE.NAME` of the function it was given; Lambda imports
that module and calls that attribute with event and context.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CHECK = """
import importlib, sys
import app
from local.functions.registry import find_functions
for function in find_functions(app.app).values():
    module, _, attribute = function.lambda_handler.rpartition(".")
    found = getattr(importlib.import_module(module), attribute)
    print(function.name, found is function.handler)
"""


@pytest.mark.parametrize(
    "feed", ["kinesis://usher-local-updates", "redis://localhost:6379/updates"]
)
def test_the_attribute_that_lambda_calls_is_the_registered_handler(feed):
    told = subprocess.run(
        [sys.executable, "-c", CHECK],
        cwd=ROOT,
        env={"STAGE": "local", "FEED_URL": feed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    found = dict(line.split() for line in told if line)
    assert "sweep" in found
    assert ("relay_records" in found) == feed.startswith("redis")
    assert set(found.values()) == {"True"}
