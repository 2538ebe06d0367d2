"""The guard's Python and code as a Docker volume, so that images need neither.

Filled once on a machine, by a container of the base image (never of a grader's), with only the
files that the guard loads.
"""

import base64
import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import usher
from usher.box.docker_requests import LABEL, RUNTIME
from usher.box.engine import Demultiplexer, Engine, EngineError
from usher.box.leftovers import remove_volumes
from usher.box.model import BoxError

MODULES = (
    "errors",
    "processes",
    "box/__init__",
    "box/control_group",
    "box/frames",
    "box/guard",
    "box/inner_boxes",
    "box/inner_client",
    "box/isolation",
    "box/launcher",
    "box/model",
)
FILL_SECONDS = 60.0
DEFAULT_BASE = "python:3.11-slim"
NOT_THERE = 400
"""The engine's status if a container's command does not exist: the volume is empty."""
T = TypeVar("T")

FILL = r"""
import base64, compileall, json, os, shutil, sys, sysconfig
place = sys.argv[1]
app = place + "/app"
for name, text in json.loads(base64.b64decode(sys.stdin.buffer.read(int(sys.argv[2])))).items():
    path = f"{app}/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
sys.path.insert(0, app)
import encodings.ascii, encodings.latin_1, locale, usher.box.guard, usher.box.inner_client
library = sysconfig.get_path("stdlib")
copied = f"{place}/lib/python{sys.version_info[0]}.{sys.version_info[1]}"
wanted = {m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)}
specs = [getattr(m, "__spec__", None) for m in list(sys.modules.values())]
wanted |= {getattr(spec, "origin", None) for spec in specs}
for path in wanted | {library + "/os.py"}:
    if path and path.startswith(library):
        target = copied + path[len(library):]
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(path, target)
mapped = {line.split()[-1] for line in open("/proc/self/maps") if "/" in line}
loader = ""
for path in mapped:
    name = os.path.basename(path)
    if name.startswith(("ld-", "ld.")):
        loader = path
    elif ".so" in name and "lib-dynload" not in path:
        # Under the name by which it is asked for: libc.so.6, libffi.so.8.
        folder = os.path.dirname(path)
        for other in os.listdir(folder):
            if ".so" in other and os.path.realpath(f"{folder}/{other}") == os.path.realpath(path):
                shutil.copyfile(path, f"{place}/lib/{other}")
os.makedirs(place + "/bin", exist_ok=True)
shutil.copy(os.path.realpath(sys.executable), place + "/bin/python3")
os.makedirs(place + "/run", exist_ok=True)
with open(place + "/bin/usher-box", "w") as file:
    start = f"{place}/ld.so --library-path {place}/lib {place}/bin/python3 -I -S -c"
    code = f"import sys; sys.path.insert(0, '{place}/app'); sys.argv[0] = 'usher-box'; "
    code += "from usher.box.inner_client import main; main()"
    file.write(f'#!/bin/sh\nexec {start} "{code}" "$@"\n')
os.chmod(place + "/bin/usher-box", 0o755)
compileall.compile_dir(place, quiet=2)
shutil.copy(loader, place + "/ld.new")
os.rename(place + "/ld.new", place + "/ld.so")  # the last: whoever finds it finds all
print("filled")
"""


def sources() -> dict[str, str]:
    """Texts by their paths below the application's directory."""
    root = Path(usher.__file__).parent
    found = {f"usher/{name}.py": (root / f"{name}.py").read_text() for name in MODULES}
    return {"usher/__init__.py": "", **found}


def volume_name(engine: Engine, base: str) -> str:
    """The name of the volume for this code and this base image. Raises EngineError without the
    image.
    """
    identity = engine.call("GET", f"/images/{base}/json")["Id"]
    content = json.dumps([identity, FILL, sources()], sort_keys=True)
    return f"usher-guard-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def start_with_runtime(engine: Engine, base: str, volume: str, start: Callable[[], T]) -> T:
    """Return the result of `start`, which starts a container with the volume; the volume is filled
    first if it is empty.
    """
    try:
        return start()
    except EngineError as error:
        if error.status != NOT_THERE:
            raise
    fill_volume(engine, base, volume)
    return start()


def fill_volume(engine: Engine, base: str, name: str) -> None:
    """Make the volume and write the guard into it. Idempotent, also concurrently."""
    engine.call("POST", "/volumes/create", body={"Name": name, "Labels": {LABEL: "guard"}})
    data = base64.b64encode(json.dumps(sources()).encode())
    request = {
        "Image": base,
        "Entrypoint": ["python3", "-I", "-c", FILL, RUNTIME, str(len(data))],
        "Cmd": [],
        "User": "0:0",
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Labels": {LABEL: "1"},
        "HostConfig": {
            "NetworkMode": "none",
            "LogConfig": {"Type": "none"},
            "Mounts": [{"Type": "volume", "Source": name, "Target": RUNTIME}],
        },
    }
    container = engine.call("POST", "/containers/create", body=request)["Id"]
    path = f"/containers/{container}"
    try:
        every = {"stream": "1", "stdin": "1", "stdout": "1", "stderr": "1"}
        with contextlib.closing(engine.stream(f"{path}/attach", every)) as sock:
            sock.settimeout(FILL_SECONDS)
            engine.call("POST", f"{path}/start")
            sock.sendall(data)
            frames, output = Demultiplexer(), b""
            while part := sock.recv(65_536):
                output += b"".join(text for _, text in frames.feed(part))
    except OSError as error:
        raise BoxError(f"the guard cannot be put into a volume: {error}") from error
    finally:
        engine.call("DELETE", path, {"force": "true"})
    remove_volumes(engine, f"{LABEL}=guard", name)
    if b"filled" not in output:
        text = output.decode(errors="replace").strip()
        raise BoxError(f"the guard cannot be put into a volume by {base}: {text[-500:]}")
