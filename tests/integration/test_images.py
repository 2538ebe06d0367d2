"""The images as they go out: the same content makes the same layers, and what is in them works."""

import json
import re
import ssl
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import cyclonedx.schema
import docker
import pytest
from jsonschema import Draft7Validator
from referencing import Registry, Resource
from websockets.sync.client import connect

import infra.deploy.contents
from infra.deploy.steps import CONTENTS
from infra.supply.bills import DEPLOYED, packages_of, python_packages
from local.hosts.base_image import Recipe, ensure_base, make_base
from local.hosts.docker_engine import connect as connect_engine
from local.hosts.image_builder import (
    ImageBuilder,
    context_files,
    dockerfile_name,
    download_wheels,
    write_context,
)
from local.hosts.images import ImageSource, session_image
from tests.certificates import Authority
from tests.integration.sessions import dispatch, wait_for
from tests.integration.test_certificates import serial
from tests.integration.test_router import status_of
from tests.needs import needs_docker
from tests.router import KEY_HASH, ContainerRouter, free_port
from tests.session_process import ROOT, until

WITH_NGINX = Recipe(packages=("ca-certificates", "nginx"))
"""For the router's image: a build here cannot reach a package mirror."""

RESOURCES = Path(cyclonedx.schema.__file__).parent / "_res"
BOM_SCHEMA = RESOURCES / "bom-1.5.SNAPSHOT.schema.json"


@pytest.fixture(scope="module")
def engine():
    client = connect_engine()
    yield client
    client.close()


@pytest.fixture
def built(engine):
    """Builds an image from nothing, layers of earlier builds included; removes it afterwards."""
    made, steps = [], []

    def build(context, dockerfile, **arguments):
        tag = f"usher-rebuilt:{len(made)}"
        made.append(tag)
        context.seek(0)
        lines = engine.build(
            fileobj=context,
            custom_context=True,
            dockerfile=dockerfile,
            tag=tag,
            buildargs=arguments,
            nocache=True,
            rm=True,
            forcerm=True,
            decode=True,
        )
        said = list(lines)
        text = "".join(line.get("stream", "") for line in said)
        steps.extend(re.findall(r"---> ([0-9a-f]{12})\n", text))
        assert not [line for line in said if "error" in line], said[-5:]
        return engine.inspect_image(tag)

    yield build
    for tag in made:
        engine.remove_image(tag)
    for step in reversed(steps):  # a stage's last one stays; bases are steps too, but have names
        with suppress(docker.errors.ImageNotFound):
            if not engine.inspect_image(step)["RepoTags"]:
                engine.remove_image(step)


@needs_docker
def test_the_same_content_makes_the_same_layers_of_the_session_image(engine, built, tmp_path):
    source = session_image(ROOT)
    base = ensure_base(engine, "python:3.12-slim", print)
    trouble = download_wheels(source.requirements, engine.inspect_image(base), tmp_path)
    assert trouble is None

    def build():
        with tempfile.TemporaryFile() as context:
            write_context(context, context_files(source), tmp_path)
            return built(context, dockerfile_name(source), BASE_IMAGE=base)

    first = build()
    threading.Event().wait(1.1)  # files have modification times of whole seconds
    second = build()
    assert first["Created"] != second["Created"], "they were built, both of them"
    assert first["RootFS"]["Layers"] == second["RootFS"]["Layers"]
    below = engine.inspect_image(base)["RootFS"]["Layers"]
    assert len(first["RootFS"]["Layers"]) == len(below) + 1, "one layer, shared by nothing else"


@needs_docker
@pytest.mark.parametrize("what", ["session", "jobs"])
def test_an_image_has_the_python_packages_of_its_bill_and_no_others(engine, what):
    base = ensure_base(engine, "python:3.12-slim", print)
    builder = ImageBuilder(engine, [session_image(ROOT)], print, base_image=base)
    image = builder.image({"session": "usher-session", "jobs": f"dir:{ROOT}/examples/jobs"}[what])

    def contents(name):
        command = ["docker", *CONTENTS[1:], name, "-"]
        script = Path(infra.deploy.contents.__file__).read_bytes()
        return json.loads(subprocess.run(command, input=script, stdout=-1, check=True).stdout)

    version = contents(image)["metadata"]["properties"][0]["value"]
    expected = packages_of(DEPLOYED[what], version)
    of_the_base = python_packages(contents(base))
    assert python_packages(contents(image)) == of_the_base | expected
    schema = json.loads(BOM_SCHEMA.read_text("utf-8"))
    known = {"spdx.schema.json": "spdx.SNAPSHOT.schema.json"}
    known["jsf-0.82.schema.json"] = "jsf-0.82.SNAPSHOT.schema.json"
    base_uri = schema["$id"].rpartition("/")[0]
    registry = Registry().with_resources(
        (f"{base_uri}/{name}", Resource.from_contents(json.loads((RESOURCES / file).read_text())))
        for name, file in known.items()
    )
    Draft7Validator(schema, registry=registry).validate(contents(image))


@pytest.fixture(scope="module")
def router_image(engine):
    base = make_base(engine, WITH_NGINX, print)
    folder = ROOT / "infra" / "router"
    source = ImageSource("usher-router", folder / "Dockerfile", folder)
    return ImageBuilder(engine, [source], print, base_image=base).image("usher-router")


@needs_docker
def test_the_routers_image_serves_renews_and_revokes(start_cloud, tmp_path, router_image):
    authority = Authority(tmp_path)
    trusting = ssl.create_default_context(cafile=authority.file)
    folder = tmp_path / "certificates"
    folder.mkdir()
    files = readable(authority.issue(folder))
    port = free_port()
    told = {
        "ROUTER_KEY": KEY_HASH,
        "SESSION_URL_TEMPLATE": f"wss://localhost:{port}/{{id}}{{path}}",
    }
    cloud = start_cloud(environment=told)
    with ContainerRouter(router_image, cloud.dispatcher, files, port) as router:
        session = dispatch(cloud)
        with connect(session["url"], ssl=trusting) as websocket:
            assert '"hello"' in websocket.recv(timeout=20)
            wait_for(cloud, session["id"], "ACTIVE")
            before = serial(port, trusting, "localhost")
            readable(authority.issue(folder))
            until(lambda: serial(port, trusting, "localhost") != before, "the renewed certificate")
            websocket.ping().wait(10)
            assert cloud.http("DELETE", f"/sessions/{session['id']}")[0] == 200
            threading.Event().wait(1.0)  # cached results have expired
            assert status_of(session["url"], trusting) == 404
    assert session["path"].strip("/") not in "".join(router.log)
    assert session["id"] in "".join(router.log)


def readable(files: tuple[Path, Path]) -> tuple[Path, Path]:
    """Makes files readable for the container's user, who is `nobody` on the machine."""
    for file in files:
        file.chmod(0o644)
    files[0].parent.chmod(0o755)
    return files
