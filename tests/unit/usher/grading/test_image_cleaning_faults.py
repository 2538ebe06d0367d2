"""Each call to the Docker Engine of cleaning an image fails, loses its answer, or is the last one.

The engine is a model with images, tags and containers. Whatever happens, no image that still has
setuid files is known as cleaned, and the next attempt ends with a cleaned one.
"""

import contextlib
import json
import re
import struct
import time
from enum import Enum
from typing import Any

import pytest

from usher.box.engine import EngineError
from usher.box.leftovers import CONTAINERS_KEPT
from usher.box.model import BoxError
from usher.grading.image_cleaning import CLEANED, CONTAINERS, clean_image, pinned_reference

AUTHORS = "sha256:" + "a" * 64
PLAIN = "sha256:" + "b" * 64
BASE = "base:1"
VOLUME = "usher-guard-"


class Death(BaseException):
    """The process of the judge ends here: nothing after it runs."""


class Fate(Enum):
    REFUSED = "the engine fails before it does anything"
    UNANSWERED = "it does what was asked, and the answer is lost"
    DIES = "the judge dies before the call"
    DIES_AFTER = "the judge dies after the call had its effect"


class Model:
    """The methods of an engine that cleaning calls. `setuid` has the ids of images with such
    files.
    """

    def __init__(self) -> None:
        self.setuid = {AUTHORS}
        self.tags = {BASE: "sha256:" + "c" * 64}
        self.containers: dict[str, dict[str, Any]] = {}
        self.count = 0
        self.calls: list[str] = []
        self.at, self.fate = -1, Fate.REFUSED
        self.is_dead = False
        self.output = b""

    def call(self, method, path, query=None, body=None, *, seconds=0.0, headers=None):
        return self._faulty(f"{method} {path}", lambda: self._do(method, path, query or {}, body))

    def read(self, path, query):
        return self._faulty(f"GET {path}", lambda: self.output)

    def _faulty(self, name, act):
        if self.is_dead:
            raise Death
        number = len(self.calls)
        self.calls.append(name)
        if number != self.at:
            return act()
        if self.fate is Fate.DIES:
            self.is_dead = True
            raise Death
        if self.fate is Fate.REFUSED:
            raise EngineError(500, "the disk is full")
        with contextlib.suppress(EngineError):
            act()
        if self.fate is Fate.DIES_AFTER:
            self.is_dead = True
            raise Death
        raise EngineError(0, "the Docker Engine does not answer")

    def _do(self, method, path, query, body):
        _, kind, *words = path.split("/")
        known = {
            ("GET", "version"): lambda: {"Arch": "amd64"},
            ("GET", "images"): lambda: self._image(words, query),
            ("POST", "images"): lambda: self.tags.update(
                {f"{query['repo']}:{query['tag']}": words[0]}
            ),
            ("GET", "containers"): lambda: self._listed(query),
            ("POST", "containers"): lambda: self._container(words, query, body),
            ("DELETE", "containers"): lambda: self.containers.pop(words[0], None),
            ("POST", "commit"): lambda: self._commit(query),
        }
        return known[method, kind]()

    def _image(self, words, query):
        if words[0] == "json":
            return []
        name = "/".join(words[:-1])
        found = self.tags.get(name, name if name in (AUTHORS, PLAIN) else "")
        found = found or (name if name in self.tags.values() else "")
        if not found:
            raise EngineError(404, f"no such image: {name}")
        config = {"User": ""}
        return {"Id": found, "Os": "linux", "Architecture": "amd64", "Size": 1, "Config": config}

    def _listed(self, query):
        (pattern,) = json.loads(query["filters"])["name"]
        return [
            {"Id": number, "Created": found["made"]}
            for number, found in self.containers.items()
            if re.search(pattern, f"/{found['name']}")
        ]

    def _container(self, words, query, body):
        if words[0] == "create":
            self.count += 1
            self.containers[f"c{self.count}"] = {
                "image": body["Image"],
                "walked": False,
                "made": time.time(),
                "name": query["name"],
            }
            return {"Id": f"c{self.count}"}
        found = self.containers[words[0]]
        if words[1] == "start":
            found["walked"] = True
            changed = ["/bin/su"] if found["image"] in self.setuid else []
            text = json.dumps({"changed": changed, "bad": []}).encode()
            self.output = struct.pack(">BxxxI", 1, len(text)) + text
        return {"StatusCode": 0} if words[1] == "wait" else None

    def _commit(self, query):
        found = self.containers[query["container"]]
        made = f"sha256:{len(self.tags):064d}"
        if not found["walked"] and found["image"] in self.setuid:
            self.setuid.add(made)
        self.tags[f"{query['repo']}:{query['tag']}"] = made


def calls_of(image: str) -> int:
    model = Model()
    clean_image(model, image, BASE)
    return len(model.calls)


POINTS = [
    pytest.param(image, number, fate, id=f"{name}-{number}-{fate.name}")
    for name, image in (("setuid", AUTHORS), ("plain", PLAIN))
    for number in range(calls_of(image))
    for fate in Fate
]


@pytest.mark.parametrize(("image", "number", "fate"), POINTS)
def test_an_image_is_clean_or_cleaned_again(image, number, fate):
    model = Model()
    model.at, model.fate = number, fate
    try:
        used = [clean_image(model, image, BASE).id]
    except (BoxError, Death):
        used = []
    check(model, used)
    model.is_dead, model.at = False, -1
    check(model, [clean_image(model, image, BASE).id])
    before = len(model.calls)
    check(model, [clean_image(model, image, BASE).id])
    assert not [each for each in model.calls[before:] if "commit" in each], "once is enough"


def check(model: Model, used: list[str]) -> None:
    known = {each for tag, each in model.tags.items() if tag.startswith(f"{CLEANED}:")}
    assert not (known | set(used)) & model.setuid


@pytest.mark.parametrize("number", range(calls_of(AUTHORS)))
def test_a_container_that_was_left_goes_with_the_next_cleaning(number, monkeypatch):
    model = Model()
    model.at, model.fate = number, Fate.DIES_AFTER
    with pytest.raises(Death):
        clean_image(model, AUTHORS, BASE)
    for left in model.containers.values():
        left["made"] -= CONTAINERS_KEPT.total_seconds() + 60
    model.is_dead, model.at = False, -1
    clean_image(model, AUTHORS, BASE)
    clean_image(model, PLAIN, BASE)
    assert model.containers == {}


def test_one_that_another_judge_is_cleaning_stays():
    model = Model()
    model.containers["theirs"] = {
        "image": PLAIN,
        "walked": False,
        "made": time.time(),
        "name": f"{CONTAINERS}theirs",
    }
    clean_image(model, AUTHORS, BASE)
    assert list(model.containers) == ["theirs"]


@pytest.mark.parametrize("output", [b"", b"{", b"[]", b'{"changed": 1}', b"{}"])
def test_a_walk_whose_result_cannot_be_read_makes_nothing(output):
    model = Model()
    begin = model.read
    model.read = lambda path, query: (
        begin(path, query) and struct.pack(">BxxxI", 1, len(output)) + output
    )
    with pytest.raises(BoxError, match="cannot be cleaned"):
        clean_image(model, AUTHORS, BASE)
    assert list(model.tags) == [BASE]
    assert model.containers == {}


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("", "sha256:id"),
        ("grader:3", "grader@sha256:1"),
        ("localhost:5000/grader:3", "localhost:5000/grader@sha256:2"),
        ("localhost:5000/grader", "localhost:5000/grader@sha256:2"),
        ("other/grader:3", "sha256:id"),
        ("grader@sha256:9", "grader@sha256:9"),
    ],
)
def test_an_image_is_pinned_in_the_repository_that_its_grader_names(named, expected):
    digests = ["grader@sha256:1", "localhost:5000/grader@sha256:2"]
    assert pinned_reference(named, "sha256:id", digests) == expected
