"""Prepares an image for boxes: identified by its digest, without setuid bits and file capabilities.

The image's own programs are not run for it: the guard's Python reads its files.
"""

import contextlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from usher.box.docker_requests import PYTHON, RUNTIME
from usher.box.engine import Demultiplexer, Engine, EngineError
from usher.box.guard_runtime import start_with_runtime, volume_name
from usher.box.leftovers import remove_containers, remove_images
from usher.box.model import BoxError
from usher.errors import UsherError

CLEANED = "usher-cleaned"
"""The repository of cleaned images; the tag is the beginning of the source's id."""
BUILT = "usher-grader"
"""The repository of images built from authors' Dockerfiles."""
MOST_BYTES = 10 * 1024**3
CLEAN_SECONDS = 300.0
CONTAINERS = "usher-cleaning-"
"""Name prefix of containers in which images are cleaned; a label would stay in the image."""
_CAPABILITIES = ("DAC_OVERRIDE", "FOWNER", "SETFCAP")
_CLEAN = """
import json, os, stat
device, changed, bad = os.lstat("/").st_dev, [], []
for folder, folders, names in os.walk("/"):
    folders[:] = [n for n in folders if os.lstat(os.path.join(folder, n)).st_dev == device]
    for name in [*names, *folders]:
        path = os.path.join(folder, name)
        mode = os.lstat(path).st_mode
        if stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
            bad.append(path)
        if not stat.S_ISREG(mode):
            continue
        try:
            if mode & (stat.S_ISUID | stat.S_ISGID):
                os.chmod(path, stat.S_IMODE(mode) & 0o1777)
                changed.append(path)
            if "security.capability" in os.listxattr(path, follow_symlinks=False):
                os.removexattr(path, "security.capability", follow_symlinks=False)
                changed.append(path)
        except OSError as error:
            bad.append(f"{path}: {error.strerror}")
print(json.dumps({"changed": sorted(set(changed)), "bad": bad}))
"""


class ImageRefusedError(UsherError):
    """The image is not used; the message has the reason."""


@dataclass(frozen=True)
class CleanImage:
    """An image for boxes."""

    id: str
    """The engine's id, because a name may be moved to another image."""
    source: str
    """The id of the source image."""
    digest: str
    """The registry's digest of the source, `NAME@sha256:…`; its id if it was built locally."""
    pinned: str
    """An immutable reference: the digest in the repository that the grader names, else the id."""
    cleaned: tuple[str, ...] = ()
    """Files that lost a setuid bit or a capability now; empty if it was cleaned before."""


def clean_image(engine: Engine, image: str, base: str, named: str = "") -> CleanImage:
    """The cleaned form of a local image, made once.

    `named` is its name in `grader.toml`, empty if it has none; `base` is the image with the
    guard's Python. Raises ImageRefusedError, and BoxError.
    """
    details = engine.call("GET", f"/images/{image}/json")
    architecture = engine.call("GET", "/version")["Arch"]
    if why := decide_refusal(details, architecture):
        raise ImageRefusedError(f"the image {image} is refused: {why}")
    source = str(details["Id"])
    digest = str((details.get("RepoDigests") or [source])[0])
    pinned = pinned_reference(named, source, details.get("RepoDigests") or ())
    tag = source.removeprefix("sha256:")[:24]
    with contextlib.suppress(EngineError):  # it was not cleaned yet
        known = engine.call("GET", f"/images/{CLEANED}:{tag}/json")
        # Records the time of its last use; see `usher.box.leftovers`.
        engine.call("POST", f"/images/{known['Id']}/tag", {"repo": CLEANED, "tag": tag})
        return CleanImage(str(known["Id"]), source, digest, pinned)
    # A commit keeps settings of the container that the image does not have.
    user = "0:0" if details["Config"].get("User") else ""
    container = _start(engine, source, base, user)
    try:
        found = _result(engine, container)
        if found["bad"]:
            listed = ", ".join(found["bad"][:10])
            raise ImageRefusedError(f"the image {image} is refused: cannot be cleaned: {listed}")
        if found["changed"]:
            query = {"container": container, "repo": CLEANED, "tag": tag}
            engine.call("POST", "/commit", query, details["Config"])
        else:
            engine.call("POST", f"/images/{source}/tag", {"repo": CLEANED, "tag": tag})
    finally:
        engine.call("DELETE", f"/containers/{container}", {"force": "true", "v": "true"})
    remove_containers(engine, CONTAINERS)
    remove_images(engine, (CLEANED, f"{BUILT}/*"))
    made = engine.call("GET", f"/images/{CLEANED}:{tag}/json")
    return CleanImage(str(made["Id"]), source, digest, pinned, tuple(found["changed"]))


def pinned_reference(named: str, source: str, digests: Sequence[str]) -> str:
    """An immutable reference of a local image. Pure.

    It is the digest in the repository that the grader names, so that each host can pull it; the
    engine's id `source` of an image that no registry has.
    """
    if "@" in named:
        return named
    place, slash, last = named.rpartition("/")
    repository = f"{place}{slash}{last.partition(':')[0]}"
    return next((each for each in digests if each.partition("@")[0] == repository), source)


def decide_refusal(details: dict[str, Any], architecture: str) -> str:
    """Why an image is not used, from the engine's data; empty if it is used."""
    if details.get("Os") != "linux":
        return f"it is for {details.get('Os')}, boxes are Linux"
    if details.get("Architecture") != architecture:
        return f"it is for {details.get('Architecture')}, this machine is {architecture}"
    if details.get("Size", 0) > MOST_BYTES:
        return f"it has more than {MOST_BYTES // 1024**3} GiB"
    return ""


def _start(engine: Engine, image: str, base: str, user: str) -> str:
    """The id of a container that has read all files when its output ends."""
    volume = volume_name(engine, base)
    request = {
        "Image": image,
        "Entrypoint": [*PYTHON, _CLEAN],
        "Cmd": [],
        "User": user,
        "WorkingDir": "/",
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "NetworkMode": "none",
            "CapDrop": ["ALL"],
            "CapAdd": list(_CAPABILITIES),
            "SecurityOpt": ["no-new-privileges"],
            "LogConfig": {"Type": "json-file"},
            "Mounts": [{"Type": "volume", "Source": volume, "Target": RUNTIME, "ReadOnly": True}],
        },
    }

    def start() -> str:
        name = {"name": f"{CONTAINERS}{uuid.uuid4().hex}"}
        number = str(engine.call("POST", "/containers/create", name, request)["Id"])
        try:
            engine.call("POST", f"/containers/{number}/start")
        except EngineError:
            engine.call("DELETE", f"/containers/{number}", {"force": "true", "v": "true"})
            raise
        return number

    return start_with_runtime(engine, base, volume, start)


def _result(engine: Engine, container: str) -> dict[str, Any]:
    """The result of reading the files. Raises BoxError."""
    path = f"/containers/{container}"
    ended = engine.call("POST", f"{path}/wait", seconds=CLEAN_SECONDS)
    query = {"stdout": "1", "stderr": "1"}
    streams = {1: b"", 2: b""}
    for number, part in Demultiplexer().feed(engine.read(f"{path}/logs", query)):
        streams[number] += part
    if ended["StatusCode"] != 0:
        raise BoxError(f"an image cannot be cleaned: {streams[2][-500:].decode(errors='replace')}")
    return _read(streams[1])


def _read(text: bytes) -> dict[str, Any]:
    """Parse the container's output. Raises BoxError."""
    try:
        found = json.loads(text)
        return {name: [str(path) for path in found[name]] for name in ("changed", "bad")}
    except (ValueError, TypeError, KeyError) as error:
        raise BoxError(f"an image cannot be cleaned: no result of the walk: {error!r}") from error
