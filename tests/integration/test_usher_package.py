"""`pip install` installs usher, the contract and the command, and nothing else."""

import email
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from infra import packages
from tests.integration.test_usher_client import FakeApi, api
from usher.cli.main import main

__all__ = ["api"]  # the fixture

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Sdist and wheel as `make package` builds them: the wheel from the sdist, which so has all it
    needs.
    """
    if find_spec("setuptools") is None or find_spec("wheel") is None:
        pytest.skip("no setuptools and wheel to build with, without a network")
    return packages.build_python(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def wheel(built):
    assert [path.suffix for path in built] == [".gz", ".whl"]
    return built[1]


def test_the_sdist_has_the_sources_of_the_wheel_and_nothing_else(built, wheel):
    with tarfile.open(built[0]) as archive:
        files = [member.name for member in archive if member.isfile()]
    names = {name.partition("/")[2] for name in files}
    told = {name for name in names if ".egg-info/" in name}
    made = {"PKG-INFO", "README.md", "pyproject.toml", "setup.cfg", "setup.py"}
    with zipfile.ZipFile(wheel) as archive:
        sources = {name for name in archive.namelist() if ".dist-info/" not in name}
    moved = {name.replace("usher/contract/", "chalicelib/contract/") for name in sources}
    assert names - told - made == moved
    assert made <= names


def test_who_tails_without_the_extra_is_told_to_install_it(
    api: FakeApi, monkeypatch, capsys, tmp_path
):
    monkeypatch.setitem(sys.modules, "websockets.exceptions", None)
    session = {"id": "the-id", "state": "RESERVED", "url": "ws://127.0.0.1:1/x"}
    api.on("GET /session", (200, session))
    assert main(["tail", "--cursor-file", str(tmp_path / "cursor")]) == 1
    assert "pip install 'usher-containers[sessions]'" in capsys.readouterr().err


def test_the_wheel_has_what_it_needs_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        told = email.message_from_bytes(archive.read(metadata))
    wanted = {
        (Path(target) / path.relative_to(ROOT / folder)).as_posix()
        for target, folder in (("usher", "usher"), ("usher/contract", "chalicelib/contract"))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    wanted |= {
        path.relative_to(ROOT).as_posix()
        for pattern in ("*.py", "feeds/*.py", "client.js", "requirements.*")
        for path in (ROOT / "session_handler").glob(pattern)
    }
    assert names == wanted
    assert told.get_all("Requires-Dist") == [
        "pydantic<3,>=2.10",
        'websockets<18,>=15; extra == "sessions"',
    ]


def test_it_runs_where_nothing_else_is_installed(wheel, tmp_path):
    folder = tmp_path / "venv"
    venv.create(folder)
    words = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *words], check=True)

    def usher(*arguments, code=0):
        done = subprocess.run(
            [folder / "bin" / "usher", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done

    assert "usher COMMAND --help" in usher("--help").stdout
    usher("new", "price_alert")
    assert (tmp_path / "price_alert" / "Dockerfile").is_file()
    left = usher("invocations", "--url", "nowhere", code=1)
    assert "is no URL of a dispatcher" in left.stderr
    program = "import sys, usher.entry; sys.exit('pydantic' in sys.modules)"
    subprocess.run([python, "-c", program], check=True)
    # A Chalice project has a package of that name itself, and it comes first where jobs run.
    (tmp_path / "chalicelib").mkdir()
    (tmp_path / "chalicelib" / "__init__.py").write_text("OWN = True")
    program = "import chalicelib, usher.entry, session_handler.app; assert chalicelib.OWN"
    subprocess.run([python, "-c", program], cwd=tmp_path, check=True)


def test_the_image_installs_what_the_package_does():
    lines = (ROOT / "usher" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    named = [line.partition("#")[0].strip() for line in lines]
    assert [name for name in named if name] == PROJECT["project"]["dependencies"]


def test_sessions_are_connected_to_with_what_containers_listen_with():
    (line,) = (ROOT / "session_handler" / "requirements.txt").read_text().splitlines()
    wanted = [line.partition("#")[0].strip()]
    assert PROJECT["project"]["optional-dependencies"]["sessions"] == wanted
