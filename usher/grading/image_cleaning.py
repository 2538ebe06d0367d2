"""Makes an image ready for boxes: pinned by its digest, without setuid bits and file capabilities.

The image's own programs are not run for it: the guard's Python walks over its files.
"""

import contextlib
import json
import uuid
from dataclasses import dataclass
from typing import Any

from usher.box.docker_requests import PYTHON, RUNTIME
from usher.box.engine import Demultiplexer, Engine, EngineError
from usher.box.guard_runtime import start_with_runtime, volume_name
from usher.box.leftovers import remove_containers, remove_images
from usher.box.model import BoxError
from usher.errors import UsherError

CLEANED = "usher-cleaned"
"""The name of what was cleaned; the tag is the beginning of the first id."""
BUILT = "usher-grader"
"""The name of what was built of an author's Dockerfile."""
MOST_BYTES = 10 * 1024**3
CLEAN_SECONDS = 300.0
CONTAINERS = "usher-cleaning-"
"""Names of the containers that images are cleaned in begin so; a label would stay in the image."""
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
    """The image is not used; the message says why."""


@dataclass(frozen=True)
class CleanImage:
    """An image that boxes may be made of."""

    id: str
    """What to run: an id of the engine, so no name can change meanwhile."""
    source: str
    """The id that it was made of."""
    digest: str
    """The registry's for the source, `NAME@sha256:…`; its id where it was built here."""
    cleaned: tuple[str, ...] = ()
    """Files that lost a setuid bit or a capability now; empty where that was done before."""


def clean_image(engine: Engine, image: str, base: str) -> CleanImage:
    """The cleaned form of an image that is on this machine, made once.

    `base` is the image of the guard's Python. Raises ImageRefusedError, and BoxError.
    """
    details = engine.call("GET", f"/images/{image}/json")
    architecture = engine.call("GET", "/version")["Arch"]
    if why := decide_refusal(details, architecture):
        raise ImageRefusedError(f"the image {image} is refused: {why}")
    source = str(details["Id"])
    digest = str((details.get("RepoDigests") or [source])[0])
    tag = source.removeprefix("sha256:")[:24]
    with contextlib.suppress(EngineError):  # it was not cleaned yet
        known = engine.call("GET", f"/images/{CLEANED}:{tag}/json")
        # So it is known when it was used last, see `usher.box.leftovers`.
        engine.call("POST", f"/images/{known['Id']}/tag", {"repo": CLEANED, "tag": tag})
        return CleanImage(str(known["Id"]), source, digest)
    # A commit keeps what the image does not say as the container has it.
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
    return CleanImage(str(made["Id"]), source, digest, tuple(found["changed"]))


def decide_refusal(details: dict[str, Any], architecture: str) -> str:
    """Why an image is not used, by what the engine knows of it; empty where it is."""
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
    """What the walk found. Raises BoxError."""
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
    """What the walk printed. Raises BoxError."""
    try:
        found = json.loads(text)
        return {name: [str(path) for path in found[name]] for name in ("changed", "bad")}
    except (ValueError, TypeError, KeyError) as error:
        raise BoxError(f"an image cannot be cleaned: no result of the walk: {error!r}") from error
