"""Attacker: somebody who can change the packages or images that a deployment is built from.

Goal: code of their own in the functions, in the images of sessions and jobs, or on the machine that
tests them. Reach: a package index that serves another file under the same name and version, a
registry where a tag of a base image moves, and the machine on which an image is built.
"""

import base64
import hashlib
import json
import platform
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra.deploy.__main__ import ROOT, declared_parameters
from infra.deploy.contents import installed_python
from infra.deploy.execute import run_command
from infra.deploy.functions import copy_project, install_command
from infra.deploy.plan import plan_deploy, plan_destroy
from infra.deploy.settings import Settings, SettingsError, parse_settings
from infra.deploy.stacks import DeployError
from infra.deploy.steps import EnsureImage
from infra.supply.bases import read_digests
from infra.supply.bills import packages_of
from infra.supply.locks import LOCKS, parse_lock
from tests.integration.conftest import cloud  # noqa: F401 - a fixture
from tests.integration.test_deploy import Deployer
from tests.unit.infra.test_access import DECIDED

BASE, HASH = "python:3.12-slim", f"sha256:{'1' * 64}"
IMAGES = ["session_handler/Dockerfile", "usher/Dockerfile", "examples/jobs/Dockerfile"]


def pip_that_installs_from_locks() -> list[str]:
    """Every command of the Makefile that installs packages of others by name."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    return [line.strip() for line in makefile.splitlines() if "pip install" in line]


def wheel(folder: Path, name: str, version: str) -> Path:
    """The attacker's package: it runs code when it is imported."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    files = {
        f"{module}/__init__.py": "print('taken over')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={_hash(text)},{len(text.encode())}\n" for path, text in files.items()
    )
    file = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in (files | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}).items():
            archive.writestr(path, text)
    return file


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@pytest.mark.parametrize("lock", LOCKS.values())
def test_a_package_of_the_same_name_and_version_from_another_place_is_not_installed(lock, tmp_path):
    package = next(each for each in parse_lock((ROOT / lock).read_text("utf-8")) if each.hashes)
    wheel(tmp_path, package.name, package.version)
    stated = f"{package.name}=={package.version} " + " ".join(
        f"--hash={each}" for each in package.hashes
    )
    lines = {"without.txt": f"{package.name}=={package.version}", "with.txt": stated}
    for name, line in lines.items():
        (tmp_path / name).write_text(line, "utf-8")
    pip = [sys.executable, "-m", "pip", "install", "--isolated", "--no-deps", "--no-index"]
    pip += ["--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    pip += ["--find-links", str(tmp_path)]

    def install(requirements: str, *options: str) -> subprocess.CompletedProcess[str]:
        target = ["--target", str(tmp_path / f"{requirements}-packages"), *options]
        return subprocess.run(
            [*pip, *target, "-r", str(tmp_path / requirements)],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    assert install("without.txt").returncode == 0, "the attacker's package works"
    refused = install("with.txt", "--require-hashes")
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert not (tmp_path / "with.txt-packages").exists()


@pytest.mark.parametrize("dockerfile", IMAGES)
def test_images_install_from_locks_with_hashes(dockerfile):
    text = (ROOT / dockerfile).read_text("utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    commands = re.sub(r"\\\n\s*", " ", code)
    assert "--require-hashes" in commands
    for found in re.finditer(r"--requirement (\S+?);?(?:\s|$)", commands):
        before = commands[: found.start()]
        last_install = max(before.rfind("pip install"), before.rfind("$install"))
        is_hashed = "--require-hashes" in before[last_install:]
        assert is_hashed or found[1] == "/project/requirements.txt", found[0]


def test_tools_of_others_are_installed_by_hash():
    commands = [each for each in pip_that_installs_from_locks() if "--no-deps" not in each]
    ranges = [each for each in commands if "--require-hashes" not in each]
    assert [re.findall(r"-r (\S+)", each) for each in ranges] == [["$<"]], "`make test`, by ranges"
    assert any("tests/emulators/requirements.lock" in each for each in commands)
    locked = json.loads((ROOT / "tests" / "emulators" / "package-lock.json").read_text("utf-8"))
    packages = {name: each for name, each in locked["packages"].items() if name}
    assert packages
    assert [name for name, each in packages.items() if "integrity" not in each] == []
    assert "npm ci --prefix tests/emulators" in (ROOT / "Makefile").read_text("utf-8")


def test_no_continuous_integration_runs_an_action_of_others():
    """If there are some, they are to be named by commit or digest: extend this test."""
    for name in (".github", ".gitlab-ci.yml", ".circleci"):
        assert not (ROOT / name).exists()


def settings(digests: dict[str, str], **document: object) -> Settings:
    return parse_settings(
        {"parameters": DECIDED, **document},
        stage="prod",
        region="r",
        declared=declared_parameters(),
        digests=digests,
    )


def test_a_tag_is_no_digest_unless_a_digest_of_it_is_known():
    with pytest.raises(SettingsError, match="base_image: this stage wants a digest"):
        settings({"debian:bookworm-slim": HASH}, pinned=True, base_image=BASE)
    for document in ({"pinned": True, "base_image": BASE}, {}):
        assert settings({BASE: HASH}, **document).base_image == f"{BASE}@{HASH}"


def test_a_tag_that_moved_is_not_what_a_deployment_builds_on():
    """A build names the digests of this checkout; Docker pulls the digest and ignores the tag."""
    for document in ({"pinned": True}, {}):
        plan = plan_deploy(settings(read_digests(), **document), "content")
        (build,) = (step for step in plan if isinstance(step, EnsureImage))
        assert f"BASE_IMAGE={BASE}@{read_digests()[BASE]}" in " ".join(build.commands()), document


def test_an_image_that_is_not_what_its_lock_says_is_not_pushed(cloud, tmp_path):  # noqa: F811
    deployer = Deployer(cloud, tmp_path)
    deployer.registry.others["websockets"] = "1.0"
    with pytest.raises(DeployError, match=r"websockets is 1\.0, not \d"):
        deployer.execute(plan_deploy(deployer.settings(), "content3"))
    assert "docker push" not in deployer.registry.commands
    deployer.execute(plan_destroy(deployer.settings()))


def test_the_functions_package_has_what_the_lock_names_and_nothing_else(tmp_path):
    project = tmp_path / "project"
    copy_project(project)
    run_command(install_command(project, "arm64"))
    locked = packages_of("requirements.lock", platform.python_version())
    assert installed_python([str(project / "vendor")]) == locked
    libraries = [path.name for path in (project / "vendor").rglob("*.so")]
    assert libraries
    assert all("aarch64" in name for name in libraries if ".cpython-" in name)


def test_the_functions_package_is_not_made_from_a_lock_without_hashes(tmp_path):
    project = tmp_path / "project"
    copy_project(project)
    command = install_command(project, "arm64")
    lock = Path(command[command.index("--requirement") + 1])
    stripped = re.sub(r"\s*\\\n\s*--hash=\S+", "", lock.read_text("utf-8"))
    assert "--hash" not in stripped
    (project / "without.lock").write_text(stripped, "utf-8")
    changed = [str(project / "without.lock") if word == str(lock) else word for word in command]
    with pytest.raises(DeployError, match="ended with"):
        run_command(changed)
    assert not list(project.glob("vendor/chalice*"))
