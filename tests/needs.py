"""Requirements of tests on the machine, and the result where one is missing.

Missing means skipped with the reason; with REQUIRE_ALL=1, as CI sets it, missing means failed:
`pytest_runtest_setup` in tests/conftest.py looks before any fixture of the test is set up.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from local.feed.redis_server import find_program
from tests import emulators
from usher.box.bubblewrap_box import bubblewrap_missing


class Need:
    """One part of the machine: a decorator of tests, and the maker of parameters that need it.

    `missing` returns why the part cannot be used, or the empty string.
    """

    def __init__(self, missing: Callable[[], str], *marks: pytest.MarkDecorator) -> None:
        self.missing = missing
        self._marks = [pytest.mark.needs(self), *marks]

    def __call__(self, test: Callable) -> Callable:
        for mark in self._marks:
            test = mark(test)
        return test

    def parameter(self, *values: Any, id: str | None = None) -> Any:  # noqa: A002 - pytest's name
        """The values of a parameter, of a fixture or a test, that can only be had with it."""
        return pytest.param(*values, marks=self._marks, id=id)


def check_needs(item: pytest.Item) -> None:
    """Skip the test, or fail it with REQUIRE_ALL=1, where something that it needs is missing."""
    reasons = [mark.args[0].missing() for mark in item.iter_markers("needs")]
    missing = ", ".join(sorted(set(filter(None, reasons))))
    if missing and os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(f"REQUIRE_ALL=1, and a part this test needs is missing: {missing}")
    if missing:
        pytest.skip(missing)


def coursera_path() -> str | None:
    """Coursera's command, which has an environment of its own: its `docker` module is another."""
    places = f"{Path(__file__).parents[1]}/.venv/coursera/bin:{os.environ.get('PATH', '')}"
    return shutil.which("coursera_autograder", path=places)


def chromium_path() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


def nginx_path() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@cache
def docker_missing() -> str:
    if not shutil.which("docker"):
        return "no docker command"
    answer = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=30)
    return "" if answer.returncode == 0 else "no Docker Engine answers"


@cache
def namespaces_missing() -> str:
    """Returns why network namespaces with a filtered bridge are missing; empty where they work."""
    missing = [name for name in ("ip", "iptables", "dockerd", "nsenter") if not shutil.which(name)]
    if missing:
        return f"no {', '.join(missing)}"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    probe = "iptables -S > /dev/null && ip link add name br0 type bridge && ls /proc/sys/net/bridge"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", probe],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return "" if done.returncode == 0 else f"no network namespaces: {done.stderr.strip()}"


def npm_missing(package: str) -> str:
    if not shutil.which("node"):
        return "no Node.js"
    is_there = (emulators.FOLDER / "node_modules" / package).is_dir()
    return "" if is_there else f"no {package}: run `make emulators`"


def ministack_missing() -> str:
    return "" if emulators.MINISTACK.is_file() else "no ministack: run `make emulators`"


def awscli_missing() -> str:
    return "" if emulators.AWS_CLI.is_file() else "no aws CLI: run `make emulators`"


needs_docker = Need(docker_missing, pytest.mark.docker)
needs_bubblewrap = Need(cache(bubblewrap_missing))
needs_coursera = Need(lambda: "" if coursera_path() else "no coursera_autograder (make coursera)")
needs_gcc = Need(lambda: "" if shutil.which("g++") else "no g++")
needs_java = Need(lambda: "" if shutil.which("javac") else "no javac")
needs_namespaces = Need(namespaces_missing)
needs_atheris = Need(lambda: "" if find_spec("atheris") else "no atheris for this Python")
needs_node = Need(lambda: "" if shutil.which("node") else "no Node.js", pytest.mark.node)
needs_chromium = Need(lambda: "" if chromium_path() else "no Chromium", pytest.mark.browser)
needs_root = Need(lambda: "" if os.geteuid() == 0 else "not root")
needs_setpriv = Need(lambda: "" if shutil.which("setpriv") else "no setpriv")
needs_redis = Need(lambda: "" if find_program() else "no redis-server or valkey-server")
needs_nginx = Need(lambda: "" if nginx_path() else "no nginx")
needs_zsh = Need(lambda: "" if shutil.which("zsh") else "no zsh")
needs_fish = Need(lambda: "" if shutil.which("fish") else "no fish")
needs_axe = Need(lambda: npm_missing("axe-core"))
needs_dynalite = Need(lambda: npm_missing("dynalite"))
needs_kinesalite = Need(lambda: npm_missing("kinesalite"))
needs_npm = Need(lambda: "" if shutil.which("npm") else "no npm", pytest.mark.node)
needs_ws = Need(lambda: npm_missing("ws"))
needs_typescript = Need(lambda: npm_missing("typescript"))
needs_ministack = Need(ministack_missing)
needs_awscli = Need(awscli_missing)
