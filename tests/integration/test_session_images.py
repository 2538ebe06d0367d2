"""A session app of one's own, in an image on top of the session image, in both runtimes."""

import hashlib
import json
import zipfile

import pytest

from tests.integration.sessions import client_of, dispatch, wait_for
from tests.needs import needs_docker
from usher.new_session import write_session_app

PLAIN = """FROM usher-session
COPY counter.py /app/
ENV SESSION_APP=counter:Counter
"""
IN_A_FOLDER = """ARG SESSION_IMAGE=usher-session
FROM \\
  ${SESSION_IMAGE} AS app
COPY src/ helpers/words.py /app/
ENV SESSION_APP=counter:Counter
"""
RUNTIMES = ["process", needs_docker.parameter("docker", id="docker")]


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "my counter"
    write_session_app("counter", folder)
    return folder


def start(start_cloud, folder, runtime, **options):
    image = f"counter={folder}"
    return start_cloud(runtime=runtime, apps=folder / "apps.toml", image=image, **options)


def greeting(cloud):
    with client_of(dispatch(cloud, "?app=counter&wait=25")) as (websocket, hello):
        assert hello["app"] == "counter"
        return json.loads(websocket.recv(20))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_new_session_app_serves_its_user(start_cloud, project, runtime):
    cloud = start(start_cloud, project, runtime)
    with client_of(dispatch(cloud, "?wait=25")) as (websocket, hello):
        assert json.loads(websocket.recv(20)) == {"type": "app", "welcome": hello["session"]}
        cloud.client("kinesis").put_record(
            StreamName=cloud.stream, PartitionKey="key", Data=b'{"city":"Oslo"}'
        )
        assert json.loads(websocket.recv(20))["records"][0]["data"] == {"city": "Oslo"}
        websocket.send('{"type":"app","want":"Rome"}')
        assert json.loads(websocket.recv(20)) == {"type": "app", "want": "Rome", "seen": 1}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("dockerfile", [PLAIN, IN_A_FOLDER], ids=["plain", "in a folder"])
def test_the_session_image_is_known_as_a_base(start_cloud, project, runtime, dockerfile):
    (project / "Dockerfile").write_text(dockerfile)
    if dockerfile is IN_A_FOLDER:
        for folder in ("src", "helpers"):
            (project / folder).mkdir()
        code = (project / "counter.py").read_text()
        (project / "src" / "counter.py").write_text(
            code.replace('"welcome": session.session_id', '"welcome": WORD').replace(
                "from typing", "from words import WORD\nfrom typing"
            )
        )
        (project / "helpers" / "words.py").write_text("WORD = 'hello'\n")
        (project / "counter.py").unlink()
    assert "welcome" in greeting(start(start_cloud, project, runtime))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_packages_of_requirements_are_there(start_cloud, project, runtime, tmp_path):
    if runtime == "docker":
        package, requirement = "iniconfig", "iniconfig\n"
    else:
        package, requirement = "shouting", f"shouting @ file://{make_wheel(tmp_path)}\n"
    (project / "requirements.txt").write_text(requirement)
    code = (project / "counter.py").read_text()
    (project / "counter.py").write_text(f"import {package}  # noqa: F401\n{code}")
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")} if runtime == "process" else {}
    assert "welcome" in greeting(start(start_cloud, project, runtime, environment=environment))


def make_wheel(folder):
    """A package of one module, which no index has."""
    wheel = folder / "shouting-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("shouting.py", "WORD = 'HELLO'\n")
        about = "shouting-1.dist-info"
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: shouting\nVersion: 1\n")
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{about}/WHEEL", tags)
        archive.writestr(f"{about}/RECORD", "shouting.py,,\n")
    return wheel


def test_what_is_wrong_with_an_app_is_said(start_cloud, project):
    (project / "counter.py").write_text("import nowhere_to_be_found\n")
    cloud = start(start_cloud, project, "process")
    status, body = cloud.http("GET", "/session?wait=25")
    if status == 202:
        body = wait_for(cloud, body["id"], "ENDED")
    assert "No module named 'nowhere_to_be_found'" in json.dumps(body)


@pytest.mark.parametrize(("digest", "serves"), [(None, True), ("0" * 64, False)])
def test_hashes_of_requirements_are_checked(start_cloud, project, tmp_path, digest, serves):
    wheel = make_wheel(tmp_path)
    digest = digest or hashlib.sha256(wheel.read_bytes()).hexdigest()
    template = (project / "requirements.txt").read_text()
    line = f"shouting @ file://{wheel} --hash=sha256:{digest}\n"
    (project / "requirements.txt").write_text(template + line)
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    cloud = start(start_cloud, project, "process", environment=environment)
    if serves:
        assert "welcome" in greeting(cloud)
        return
    status, body = cloud.http("GET", "/session?app=counter&wait=25")
    assert status == 503
    assert "requirements.txt cannot be installed" in body["error"]["message"]
