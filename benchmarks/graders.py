"""The judge's share of a run: a case and a submission, ready boxes and new ones.

The floor is the same program as a bare process, measured alternately. `share` is the difference of
a pair.
"""

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.grading_burst import measure_grading_burst
from benchmarks.run import Run, SkipError
from usher.box.docker_box import docker_missing
from usher.box.model import BoxSettings, File, NoBoxError, Task
from usher.box.runtimes import Boxes, choose_boxes
from usher.grading.folders import read_grader
from usher.grading.judge import Judge
from usher.grading.verdicts import Verdict

GROUP = "graders"
PROGRAM = "print(int(input()) * 2)\n"
CASES = 10
COMMAND = ("python3", "main.py")
SETTINGS = BoxSettings(wall_seconds=60.0, cpu_seconds=10.0)


def measure_graders(run: Run) -> None:
    """Each runtime of this machine."""
    measured = False
    for name in ("docker", "bubblewrap"):
        try:
            image = _image() if name == "docker" else ""
            boxes = choose_boxes(name, image or None)
        except (NoBoxError, SkipError) as error:
            run.report.skip(f"{GROUP} {name}", str(error))
            continue
        measured = True
        with tempfile.TemporaryDirectory() as folder, contextlib.closing(boxes):
            _measure(run, boxes, image, Path(folder))
    if not measured:
        raise SkipError("nothing here makes boxes")
    measure_grading_burst(run, GROUP)


def _image() -> str:
    from local.hosts.base_image import ensure_base
    from local.hosts.docker_engine import connect

    if why := docker_missing():
        raise SkipError(why)
    with contextlib.closing(connect()) as client:
        return ensure_base(client, "python:3.11-slim", lambda _: None)


def _measure(run: Run, boxes: Boxes, image: str, folder: Path) -> None:
    group = f"{GROUP}, {boxes.name}"
    run.say(f"graders: {boxes.name}")
    (folder / "main.py").write_text(PROGRAM)
    task = Task(COMMAND, {"main.py": File(PROGRAM.encode())}, b"21\n", image=image)
    bare, ready, fresh = [], [], []
    with contextlib.closing(boxes.session()) as session:
        session.run(task, SETTINGS)
        for _ in range(run.many(50, 3)):
            bare.append(_bare(folder))
            ready.append(_seconds(lambda: session.run(task, SETTINGS)))
    for _ in range(run.many(6, 1)):
        with (
            contextlib.closing(choose_boxes(boxes.name, image or None)) as others,
            contextlib.closing(others.session()) as session,
        ):
            fresh.append(_seconds(lambda s=session: s.run(task, SETTINGS)))  # type: ignore[misc]
    add = run.report.add
    add(group, "a bare run", "ms", [1000 * one for one in bare])
    add(group, "a case in a ready box", "ms", [1000 * one for one in ready], "a bare run")
    add(group, "a case in a fresh box", "ms", [1000 * one for one in fresh], "a bare run")
    shares = [1000 * (ours - floor) for ours, floor in zip(ready, bare, strict=True)]
    add(group, "share a case", "ms", shares)
    _measure_submissions(run, Judge(boxes, image), folder, group)


def _measure_submissions(run: Run, judge: Judge, folder: Path, group: str) -> None:
    """Whole gradings, beside as many bare runs."""
    lines = ['files = ["main.py"]', 'run = ["python3", "main.py"]', "time_limit_seconds = 10"]
    (folder / "1.in").write_text("21\n")
    (folder / "1.ans").write_text("42\n")
    for number in range(CASES):
        lines += ["[[cases]]", f'name = "{number}"', 'input = "1.in"', 'answer = "1.ans"']
    (folder / "grader.toml").write_text("\n".join(lines))
    grader = read_grader(folder)
    bare, ours = [], []
    for _ in range(run.many(6, 1)):
        bare.append(_seconds(lambda: [_bare(folder) for _ in range(CASES)]))
        began = time.perf_counter()
        grading = judge.grade(grader, {"main.py": PROGRAM.encode()})
        ours.append(time.perf_counter() - began)
        if grading.verdict is not Verdict.AC:
            raise RuntimeError(f"a right program got {grading.verdict}: {grading.details}")
    add = run.report.add
    add(group, f"{CASES} bare runs", "s", bare)
    add(group, f"a submission of {CASES} cases", "s", ours, f"{CASES} bare runs")
    shares = [one - floor for one, floor in zip(ours, bare, strict=True)]
    add(group, "share a submission", "s", shares)
    add(group, "submissions a minute", "", [60 / one for one in ours])


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _bare(folder: Path) -> float:
    """One run of the program as a process, with its streams read as a judge does."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin") or "python3"
    began = time.perf_counter()
    subprocess.run([python, "main.py"], cwd=folder, input=b"21\n", capture_output=True, check=True)
    return time.perf_counter() - began
