"""An image loses setuid bits and file capabilities before its first use."""

import contextlib
import subprocess
import uuid
from datetime import timedelta

import pytest

from tests.integration.box.conftest import python_image
from tests.needs import needs_docker
from usher.box import leftovers
from usher.box.docker_box import DockerBoxes
from usher.box.engine import Engine, EngineError, socket_path
from usher.box.model import BoxSettings, Task
from usher.grading.image_cleaning import ImageRefusedError, clean_image, decide_refusal

BUILD = """
FROM {base}
RUN cp /bin/true /usr/bin/raised && chmod 6755 /usr/bin/raised && \\
    python3 -c "import os, struct; path = '/usr/bin/capable'; open(path, 'w').close(); \\
    os.setxattr(path, 'security.capability', struct.pack('<5I', 0x02000001, 1024, 0, 0, 0))"
ENV KEPT=yes
WORKDIR /work
ENTRYPOINT ["/usr/bin/raised"]
"""
LOOK = """
import json, os
print(json.dumps({
    "mode": oct(os.stat("/usr/bin/raised").st_mode & 0o7777),
    "capable": os.listxattr("/usr/bin/capable"),
}))
"""


@pytest.fixture
def engine():
    return Engine(socket_path() or "")


@pytest.fixture
def image(engine):
    text = BUILD.format(base=python_image()) + f"LABEL test={uuid.uuid4().hex}\n"
    command = ["docker", "build", "--quiet", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    name = done.stdout.strip()
    yield name
    tag = name.removeprefix("sha256:")[:24]
    for one in (f"usher-cleaned:{tag}", name):
        with contextlib.suppress(EngineError):
            engine.call("DELETE", f"/images/{one}", {"force": "true"})


@needs_docker
def test_bits_and_capabilities_are_gone_and_the_rest_is_as_it_was(engine, image):
    found = clean_image(engine, image, python_image())
    assert {"/usr/bin/raised", "/usr/bin/capable"} <= set(found.cleaned)
    assert (found.source, found.digest) == (image, image)
    assert found.id != image
    with contextlib.closing(DockerBoxes(python_image())) as boxes:
        task = Task(("python3", "-c", LOOK), image=found.id)
        outcome = boxes.run(task, BoxSettings())
    assert outcome.stdout == b'{"mode": "0o755", "capable": []}\n', outcome
    before, after = (engine.call("GET", f"/images/{n}/json") for n in (image, found.id))
    for key in ("Entrypoint", "Cmd", "Env", "WorkingDir", "User", "Labels"):
        assert after["Config"].get(key) == before["Config"].get(key), key


@needs_docker
def test_an_image_is_cleaned_once(engine, image):
    first = clean_image(engine, image, python_image())
    again = clean_image(engine, image, python_image())
    assert (again.id, again.cleaned) == (first.id, ())
    assert clean_image(engine, first.id, python_image()).cleaned == ()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"Os": "windows"}, "boxes are Linux"),
        ({"Architecture": "s390x"}, "it is for s390x, this machine is amd64"),
        ({"Size": 11 * 1024**3}, "more than 10 GiB"),
        ({}, ""),
    ],
)
def test_reasons_to_refuse(change, why):
    details = {"Os": "linux", "Architecture": "amd64", "Size": 1, **change}
    assert why in decide_refusal(details, "amd64")
    assert bool(decide_refusal(details, "amd64")) is bool(why)


@needs_docker
def test_a_refused_image_is_named(engine, image, monkeypatch):
    monkeypatch.setattr("usher.grading.image_cleaning.MOST_BYTES", 1)
    with pytest.raises(ImageRefusedError, match=f"{image} is refused"):
        clean_image(engine, image, python_image())


@needs_docker
def test_what_is_old_and_unused_is_removed(engine, image, monkeypatch):
    monkeypatch.setattr(leftovers, "IMAGES_KEPT", timedelta(days=-1))
    monkeypatch.setattr(leftovers, "VOLUMES_KEPT", timedelta(days=-1))
    mark = uuid.uuid4().hex
    engine.call("POST", f"/images/{image}/tag", {"repo": f"usher-test-{mark}", "tag": "old"})
    assert leftovers.remove_images(engine, [f"usher-test-{mark}"]) == [f"usher-test-{mark}:old"]
    names = [f"usher-test-{mark}-{n}" for n in ("old", "kept")]
    for name in names:
        engine.call("POST", "/volumes/create", body={"Name": name, "Labels": {"usher.test": mark}})
    try:
        removed = leftovers.remove_volumes(engine, f"usher.test={mark}", names[1])
    finally:
        engine.call("DELETE", f"/volumes/{names[1]}")
    assert removed == [names[0]]


@needs_docker
def test_each_use_of_a_cleaned_image_is_noted(engine, image):
    def used_at():
        found = engine.call("GET", f"/images/usher-cleaned:{tag}/json")
        return found["Metadata"]["LastTagTime"]

    tag = image.removeprefix("sha256:")[:24]
    clean_image(engine, image, python_image())
    first = used_at()
    clean_image(engine, image, python_image())
    assert used_at() > first
