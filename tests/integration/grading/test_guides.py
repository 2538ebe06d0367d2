"""The guides of docs/graders.md, followed word by word, end with graders that work.

A block after a line that ends with a file's name is written to that file; shell blocks are run, in
the order of the page.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.box.conftest import python_image
from tests.needs import needs_bubblewrap, needs_docker

GUIDES = Path(__file__).parents[3] / "docs" / "graders.md"
BLOCK = re.compile(r"(?:`(?P<file>[\w./]+)`:\n\n)?```(?P<kind>\w+)\n(?P<text>.*?)```\n", re.DOTALL)


def follow(kind: str, folder: Path, **environment: str) -> str:
    """Returns the output of the commands in the guide to this kind; each has to exit with 0."""
    page = GUIDES.read_text(encoding="utf-8")
    section = page.split(f"## One of the kind `{kind}` in ten minutes\n")[1].split("\n## ")[0]
    usher = folder / "bin" / "usher"
    usher.parent.mkdir()
    usher.write_text(f'#!/bin/sh\nexec {sys.executable} -m usher "$@"\n')
    usher.chmod(0o755)
    path = f"{usher.parent}:{os.environ['PATH']}"
    given = {**os.environ, **environment, "PATH": path, "PYTHONPATH": str(GUIDES.parents[1])}
    printed = ""
    for block in BLOCK.finditer(section):
        if block["kind"] != "sh":
            assert block["file"], f"a block without a file: {block['text']}"
            (folder / block["file"]).write_text(block["text"], encoding="utf-8")
            continue
        done = subprocess.run(
            ["bash", "-e", "-c", block["text"]],
            cwd=folder,
            env=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        printed += done.stdout
    return printed


@pytest.mark.alone
@needs_bubblewrap
def test_of_the_kind_tests(tmp_path):
    # An engine that there is not: the boxes are bubblewrap's.
    printed = follow("tests", tmp_path, DOCKER_HOST="unix:///nowhere")
    assert printed.count("ok ") == 3, printed


@needs_docker
def test_of_the_kind_image(tmp_path):
    printed = follow("image", tmp_path, USHER_BASE_IMAGE=python_image())
    assert printed.count("ok ") == 2, printed
