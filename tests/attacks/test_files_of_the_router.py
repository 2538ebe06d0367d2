"""Another user of the router's machine reads the router's key.

Attacker: a program of another user beside the router, as on a host that is not the router's alone.
Goal: the key for `GET /route`. Reach: files that are readable to all, at any moment of the start.
"""

import os
import shutil

import pytest

from tests.certificates import Authority
from tests.needs import needs_nginx
from tests.router import KEY, Router

SPY = """#!/bin/sh
for file in "$ROUTER_FOLDER"/*; do stat -c '%a %n' "$file"; done >> "$SPY_FILE"
exec {sed} "$@"
"""


@needs_nginx
@pytest.mark.parametrize("is_there", [True, False], ids=["folder of all", "folder of its own"])
def test_no_file_with_the_key_is_ever_readable_to_others(tmp_path, is_there):
    folder, programs, seen = tmp_path / "router", tmp_path / "bin", tmp_path / "seen"
    programs.mkdir()
    (programs / "sed").write_text(SPY.format(sed=shutil.which("sed")), "utf-8")
    (programs / "sed").chmod(0o755)
    if is_there:
        folder.mkdir(mode=0o755)
    path = f"{programs}:{os.environ['PATH']}:/usr/sbin"
    files = Authority(tmp_path).issue(tmp_path)
    with Router(tmp_path, "http://127.0.0.1:1", files, PATH=path, SPY_FILE=str(seen)):
        with_key = [p for p in folder.rglob("*") if p.is_file() and KEY in p.read_text("utf-8")]
        assert [file.name for file in with_key] == ["nginx.conf"]
        assert with_key[0].stat().st_mode & 0o077 == 0
    modes = [line.split(" ", 1) for line in seen.read_text("utf-8").splitlines()]
    filled = [mode for mode, name in modes if name.endswith("fill.sed")]
    assert filled
    assert {mode[-2:] for mode in filled} == {"00"}
