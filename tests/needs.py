"""What a test needs of the machine, and what happens where it is missing.

Missing means skipped with the reason; with REQUIRE_ALL=1, as CI sets it, missing means failed.
"""

import os
import shutil
import subprocess
from functools import cache

import pytest


@cache
def docker_missing() -> str:
    if not shutil.which("docker"):
        return "no docker command"
    answer = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=30)
    return "" if answer.returncode == 0 else "no Docker Engine answers"


def chromium_path() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


def nginx_path() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def _needs(missing: str, *marks: pytest.MarkDecorator):
    def decorate(test):
        for mark in marks:
            test = mark(test)
        if not missing:
            return test
        if os.environ.get("REQUIRE_ALL") == "1":
            return pytest.mark.usefixtures("required_part_is_missing")(test)
        return pytest.mark.skip(reason=missing)(test)

    return decorate


def needs_docker(test):
    return _needs(docker_missing(), pytest.mark.docker)(test)


def docker_parameter(value):
    """The value of a parameter that a fixture or test can only have with Docker."""
    missing = docker_missing()
    marks = [pytest.mark.docker]
    if missing and os.environ.get("REQUIRE_ALL") == "1":
        marks.append(pytest.mark.usefixtures("required_part_is_missing"))
    elif missing:
        marks.append(pytest.mark.skip(reason=missing))
    return pytest.param(value, marks=marks)


def needs_node(test):
    return _needs("" if shutil.which("node") else "no Node.js", pytest.mark.node)(test)


def needs_chromium(test):
    return _needs("" if chromium_path() else "no Chromium", pytest.mark.browser)(test)


def needs_redis(test):
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    return _needs("" if found else "no redis-server or valkey-server")(test)


def needs_nginx(test):
    return _needs("" if nginx_path() else "no nginx")(test)
