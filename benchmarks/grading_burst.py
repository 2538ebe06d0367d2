"""A burst of learners who hand in at once: from the submission to its verdict, judges included."""

import hashlib
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from benchmarks.cloud import Cloud, running_cloud
from benchmarks.run import Run
from usher.box.model import NoBoxError
from usher.box.runtimes import choose_boxes

LEARNERS = 100
GRADER = """files = ["main.py"]
run = ["python3", "main.py"]
time_limit_seconds = 10
[[cases]]
input = "1.in"
answer = "1.ans"
"""
FILES = {"grader.toml": GRADER, "1.in": "21\n", "1.ans": "42\n"}
PROGRAM = "print(int(input()) * 2)\n"
MOST_SECONDS = 300


def measure_grading_burst(run: Run, group: str) -> None:
    """So many learners hand in one part each, at once; each has a right program."""
    try:
        choose_boxes()
    except NoBoxError as error:
        run.report.skip(f"{group}, a burst", str(error))
        return
    count, key = run.many(LEARNERS, 5), secrets.token_hex(16)
    environment = {
        "AUTH_MODE": "api_key",
        "API_KEYS": f"opal:{hashlib.sha256(key.encode()).hexdigest()}",
        "OPERATORS": "opal",
    }
    headers = {"X-Api-Key": key}
    with running_cloud(run, environment=environment) as cloud:
        run.say(f"{group}: {count} submissions at once")
        status, found = cloud.request("PUT", "/assignments/double", {"files": FILES}, headers)
        if status != 201:
            raise RuntimeError(f"the assignment was refused: {found}")
        with ThreadPoolExecutor(20) as threads:
            made = list(threads.map(lambda n: _hand_in(cloud, n, headers), range(count)))
        marked = _wait(cloud, made, headers)
        _, jobs = cloud.request("GET", "/invocations?job=usher_judge&limit=100", None, headers)
    seconds = [
        _instant(one["finishedAt"]) - _instant(one["queuedAt"])
        for submission in marked
        for one in submission["gradings"]
    ]
    lasted = max(
        _instant(one["finishedAt"]) for submission in marked for one in submission["gradings"]
    ) - min(_instant(submission["submittedAt"]) for submission in marked)
    add = run.report.add
    add(group, f"{count} learners at once: submission to verdict", "s", seconds)
    add(group, f"{count} learners at once: gradings a minute", "", [60 * count / lasted])
    add(group, f"{count} learners at once: judges started", "", [len(jobs["invocations"])])


def _hand_in(cloud: Cloud, number: int, headers: dict[str, str]) -> str:
    body = {
        "parts": {"double": {"files": {"main.py": PROGRAM}}},
        "learner": f"learner-{number}",
    }
    status, made = cloud.request("POST", "/assignments/double/submissions", body, headers)
    if status != 202:
        raise RuntimeError(f"a submission was refused: {status} {made}")
    return str(made["id"])


def _wait(cloud: Cloud, made: list[str], headers: dict[str, str]) -> list[dict[str, Any]]:
    """The submissions with their marks; seldom looked at, as looks take the processor too."""
    done: dict[str, dict[str, Any]] = {}
    deadline = time.monotonic() + MOST_SECONDS
    while len(done) < len(made):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(made) - len(done)} are not marked")
        time.sleep(1)
        for submission in made:
            if submission in done:
                continue
            found = cloud.request("GET", f"/submissions/{submission}", None, headers)[1]
            if found["state"] != "FINISHED":
                break  # those behind it wait too
            done[submission] = found
    wrong = [one for one in done.values() if one["score"] != one["maxScore"]]
    if wrong:
        raise RuntimeError(f"{len(wrong)} right programs have no full marks: {wrong[0]}")
    return list(done.values())


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
