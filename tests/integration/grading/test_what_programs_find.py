"""No program finds a secret of the judge, or anything that an earlier case left.

The judge's environment has credentials, in this process and in all that are started for boxes.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.integration.box.conftest import python_image
from tests.needs import needs_docker
from usher.box.docker_box import DockerBoxes
from usher.grading.folders import read_grader
from usher.grading.images import image_for
from usher.grading.judge import Judge
from usher.grading.results import document

SECRET = "a-secret-of-the-judge"
PROBE = """
import os, socket, sys
wanted, found = b"a-secret-" + b"of-the-judge", []
def look(name, read):
    try:
        data = read()
    except OSError:
        return
    if wanted in (data if isinstance(data, bytes) else os.fsencode(str(data))):
        found.append(name)
def contents(path):
    with open(path, "rb") as file:
        return file.read(1 << 20)
look("environment", lambda: dict(os.environ))
numbers = [name for name in os.listdir("/proc") if name.isdigit()]
for number in (*numbers, "self", str(os.getppid())):
    for name in ("environ", "cmdline", "mountinfo", "maps"):
        look(f"{number}/{name}", lambda: contents(f"/proc/{number}/{name}"))
    for fd in range(20):
        look(f"{number}/fd/{fd}", lambda: os.readlink(f"/proc/{number}/fd/{fd}"))
for fd in range(3, 256):
    if fd in OPEN_NOW:
        found.append(f"descriptor {fd}")
for place in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock",
              "/usher/run/box.sock"):
    try:
        socket.socket(socket.AF_UNIX).connect(place)
        found.append(place)
    except OSError:
        pass
for place in (("169.254.169.254", 80), ("169.254.170.2", 80), ("fd00:ec2::254", 80)):
    try:
        socket.create_connection(place, 1)
        found.append(place[0])
    except OSError:
        pass
for top in FOLDERS:
    for folder, _, files in os.walk(top):
        for name in files:
            if not name.endswith(".py"):
                look(name, lambda: contents(os.path.join(folder, name)))
text = f"found {found}"
"""
PROBE = f"""
import os
FOLDERS = ("/tmp", "/box", "/dev/shm", "/run", "/var/tmp", "/home", "/root", "/usher")
OPEN_NOW = [fd for fd in range(3, 256) if os.path.exists(f"/proc/self/fd/{{fd}}")]
{PROBE}"""


@pytest.fixture
def secrets(monkeypatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "INVOCATION"):
        monkeypatch.setenv(name, SECRET)


def test_the_probe_finds_what_there_is(secrets):
    program = PROBE.replace("in FOLDERS", "in ()") + "print(text)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "'environment'" in done.stdout, done
    assert f"'{os.getpid()}/environ'" not in done.stdout  # from before it was set
    assert "'self/environ'" in done.stdout


BRIEF = """
files = ["main.py"]
run = ["python3", "main.py"]
time_limit_seconds = 5
{}
[[cases]]
input = "1.in"
answer = "1.ans"
visibility = "visible"
"""
TALK = """
print("hello", flush=True)
print(text, "and", input(), file=sys.stderr)
sys.exit(1)
"""
NOTHING = "found []"


def test_a_submission_and_a_checker(marks, secrets):
    checker = PROBE + "print(text, 'and', open('output').read(), file=sys.stderr); sys.exit(1)"
    files = {"1_in": f"{SECRET}\n", "1_ans": "x\n", "check_py": checker}
    marks.write(BRIEF.format('checker = {program = "check.py"}'), **files)
    grading = marks.mark(PROBE + "print(text)")
    # A checker is given the case, a submission its input, which it did not read.
    assert grading.cases[0].message.strip() == f"found ['input'] and {NOTHING}", document(grading)


def test_a_submission_and_an_interactor(marks, secrets):
    files = {"1_in": "x\n", "1_ans": "x\n", "talk_py": PROBE + TALK}
    marks.write(BRIEF.format('interactor = "talk.py"'), **files)
    grading = marks.mark(PROBE + "input(); print(text)")
    assert grading.cases[0].message.strip() == f"{NOTHING} and {NOTHING}", document(grading)


IMAGE = """
import json
inner = json.loads(subprocess.run(["usher-box", "run", "--", "python3", "main.py"],
                                  stdout=subprocess.PIPE, check=True).stdout)
print(json.dumps({"isCorrect": False, "feedback": text + " and " + inner["stdout"]}))
"""


@needs_docker
def test_an_image_and_what_it_runs(tmp_path, secrets):
    texts = {
        "grader.toml": 'kind = "image"\nfiles = ["main.py"]\ntime_limit_seconds = 15\n',
        "Dockerfile": "ARG USHER_BASE_IMAGE\nFROM ${USHER_BASE_IMAGE}\nCOPY grade.py /grader/\n"
        'ENTRYPOINT ["python3", "/grader/grade.py"]\n',
        "grade.py": f"import subprocess\n{PROBE}{IMAGE}",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    folder = read_grader(tmp_path)
    boxes = DockerBoxes(python_image())
    try:
        judge = Judge(boxes, image_for(folder, python_image()).id)
        grading = judge.grade(folder, {"main.py": (PROBE + "print(text)").encode()})
    finally:
        boxes.close()
    own_service = "found ['/usher/run/box.sock']"  # that of `usher-box`
    assert grading.feedback.strip() in (
        f"{own_service} and {NOTHING}",
        f"{NOTHING} and {NOTHING}",
    ), document(grading)


LEAVES = """
import ctypes, fcntl, os, socket, sys, time
libc = ctypes.CDLL(None)
def each(kind, act):
    try:
        return act()
    except OSError as error:
        return None
def memory(flags):
    number = libc.shmget(0x5573, 4096, flags)
    return number if number >= 0 else None
def queue(flags):
    number = libc.msgget(0x5573, flags)
    return number if number >= 0 else None
def lock():
    fcntl.flock(os.open("/usr/bin/env", os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True
"""
LEAVE = """
secret = sys.stdin.readline()
each("files", lambda: [open(f"{top}/left", "w").write(secret) for top in ("/tmp", "/dev/shm", ".")])
memory(0o1666), queue(0o1666), libc.sem_open(b"/left", os.O_CREAT, 0o666, 1)
libc.syscall(248, b"user", b"left", secret.encode(), len(secret), -5)
if os.fork() == 0:
    os.setsid()
    os.closerange(0, 3)
    server = socket.socket(socket.AF_UNIX)
    server.bind("\\0left")
    server.listen()
    other = socket.create_server(("127.0.0.1", 7070))
    each("lock", lock)
    time.sleep(60)
"""
LOOK = """
found = [top for top in ("/tmp", "/dev/shm", ".") if os.path.exists(f"{top}/left")]
found += ["memory"] if memory(0) is not None else []
found += ["queue"] if queue(0) is not None else []
found += ["semaphore"] if os.path.exists("/dev/shm/sem.left") else []
found += ["key"] if libc.syscall(249, b"user", b"left", 0, 0) >= 0 else []
found += ["socket"] if each("", lambda: socket.socket(1).connect("\\0left") or 1) else []
found += ["port"] if each("", lambda: socket.create_connection(("127.0.0.1", 7070))) else []
found += [n for n in os.listdir("/proc") if n.isdigit() and int(n) not in (1, os.getpid())]
print(f"found {found}")
"""


def test_a_case_finds_nothing_that_an_earlier_one_left(marks):
    """The first is hidden, and what it is given leaves its box in no way."""
    hidden = '[[cases]]\ninput = "0.in"\nanswer = "1.ans"\n'
    brief = BRIEF.format("").replace("[[cases]]", hidden + "[[cases]]")
    marks.write(brief, **{"0_in": "leave\n", "1_in": "look\n", "1_ans": "found []\n"})
    leave = LEAVE.replace("secret = sys.stdin.readline()", "secret = 'leave'")
    program = f"{LEAVES}\nif input() == 'leave':\n{indent(leave)}else:\n{indent(LOOK)}"
    grading = marks.mark(program)
    assert grading.cases[1].output == f"{NOTHING}\n", json.dumps(document(grading))
    # In one box all of it is found.
    both = f"{LEAVES}\ninput()\n{leave}\nif os.getpid() != 1: time.sleep(0.3)\n{LOOK}"
    same = marks.mark(both).cases[1].output
    for name in ("/tmp", "/dev/shm", "'.'", "memory", "queue", "socket", "port"):
        assert name in same, same


def indent(code):
    return "".join(f"    {line}\n" for line in code.splitlines())
