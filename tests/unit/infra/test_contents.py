import json
import subprocess
import sys
from pathlib import Path

from infra.deploy.contents import bill, installed_debian

SCRIPT = Path(__file__).parents[3] / "infra" / "deploy" / "contents.py"
STATUS = """Package: libc6
Status: install ok installed
Version: 2.36-9
Description: GNU C Library: shared libraries
 more words: of it

Package: gone
Status: deinstall ok config-files
Version: 1
"""


def test_packages_that_are_installed_are_listed_and_no_others():
    assert installed_debian(STATUS) == {"libc6": "2.36-9"}


def test_the_bill_is_the_same_for_the_same_contents():
    one = bill({"b": "2", "a": "1"}, {"libc6": "2.36-9"})
    assert one == bill({"a": "1", "b": "2"}, {"libc6": "2.36-9"})
    assert [c["purl"] for c in one["components"]] == [
        "pkg:deb/debian/libc6@2.36-9",
        "pkg:pypi/a@1",
        "pkg:pypi/b@2",
    ]


def test_it_runs_from_stdin_as_inside_an_image():
    told = subprocess.run(
        [sys.executable, "-"], input=SCRIPT.read_bytes(), capture_output=True, check=True
    ).stdout
    names = {component["name"] for component in json.loads(told)["components"]}
    assert "websockets" in names
