"""Assignments on a running cloud, marked by real judges in real boxes; answers that learners
get.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.conftest import ROOT, finish, launch, wait_until
from tests.needs import needs_bubblewrap

BURST = 24
NAMES = ("opal", "tess", "ada", "bob")
"""The operator, an author, two learners."""
KEYS = {name: f"key-of-{name}-{'x' * 20}" for name in NAMES}
SECRETS = (
    "hidden-input-4711",
    "hidden-answer-4712",
    "hidden-note-4713",
    "hidden-output-4714",
)
GRADER = """
files = ["main.py"]
run = ["python3", "main.py"]
wall_limit_seconds = 20
checker = {program = "check.py"}
[[cases]]
input = "1.in"
answer = "1.ans"
points = 40
visibility = "visible"
[[cases]]
input = "2.in"
answer = "2.ans"
points = 60
"""
CHECK = """
import sys
wanted, found = open(sys.argv[3]).read(), open(sys.argv[2]).read()
if "hidden" in open(sys.argv[1]).read():
    print("hidden-note-4713", file=sys.stderr)
sys.exit(0 if wanted.split() == found.split() else 1)
"""
FILES = {
    "grader.toml": GRADER,
    "check.py": CHECK,
    "1.in": "1",
    "1.ans": "2",
    "2.in": "hidden-input-4711",
    "2.ans": "hidden-answer-4712",
    "solutions/right.py": "print('hidden-answer-4712')",
}
NOSY = """
given = input()
print(2 if given == "1" else given + " hidden-output-4714")
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    hashed = ",".join(f"{n}:{hashlib.sha256(key.encode()).hexdigest()}" for n, key in KEYS.items())
    running = launch(
        tmp_path_factory.mktemp("runs"),
        feed_engine="direct",
        runtime="process",
        environment={
            "AUTH_MODE": "api_key",
            "API_KEYS": hashed,
            "OPERATORS": "opal",
            "AUTHORS": "api_key:tess",
        },
    )
    yield running
    finish(running)


def call(cloud, who, method, path, body=None, **headers):
    given = {"X-Api-Key": KEYS[who]} | {k.replace("_", "-"): v for k, v in headers.items()}
    return cloud.http(method, path, body, given)


@pytest.fixture(scope="module")
def assignment(cloud):
    status, found = call(cloud, "tess", "PUT", "/assignments/double", {"files": FILES})
    assert status == 201, found
    return "/assignments/double"


def hand_in(cloud, who, text, **headers):
    body = {"parts": {"double": {"files": {"main.py": text}}}}
    return call(cloud, who, "POST", "/assignments/double/submissions", body, **headers)


def forget_documents(cloud, grading):
    """Remove what the judge stored of a grading, as the bucket's lifecycle does."""
    s3 = cloud.client("s3")
    (bucket,) = (each["Name"] for each in s3.list_buckets()["Buckets"] if "grading" in each["Name"])
    for found in s3.list_objects_v2(Bucket=bucket, Prefix=f"results/{grading}/")["Contents"]:
        s3.delete_object(Bucket=bucket, Key=found["Key"])


def marked(cloud, who, submission):
    def look():
        status, found = call(cloud, who, "GET", f"/submissions/{submission}")
        assert status == 200, found
        return found if found["state"] == "FINISHED" else None

    return wait_until(look, 120, "the mark", every=0.3)


@needs_bubblewrap
def test_a_hidden_case_is_in_no_answer_to_a_learner(cloud, assignment):
    status, made = hand_in(cloud, "ada", NOSY)
    assert status == 202, made
    done = marked(cloud, "ada", made["id"])
    (grading,) = done["gradings"]
    assert (grading["verdict"], grading["score"], grading["maxScore"]) == ("WA", 40, 100)
    assert [case["verdict"] for case in grading["cases"]] == ["AC", "WA"]
    invocation = call(cloud, "tess", "GET", f"/submissions/{made['id']}")[1]["gradings"][0][
        "invocation"
    ]
    paths = [
        "/assignments",
        assignment,
        f"{assignment}/submissions",
        f"{assignment}/submissions?learner=api_key:ada",
        f"/submissions/{made['id']}",
        f"/submissions/{made['id']}?view=learner",
        f"/invocations/{invocation}",
        f"/invocations/{invocation}/logs",
        "/invocations",
        "/audit",
        "/jobs",
    ]
    shown = "".join(json.dumps(call(cloud, "ada", "GET", path)[1]) for path in paths)
    shown += json.dumps(made)
    assert not [secret for secret in SECRETS if secret in shown]
    as_learner = call(cloud, "tess", "GET", f"/submissions/{made['id']}?view=learner")[1]
    assert not [secret for secret in SECRETS if secret in json.dumps(as_learner)]
    as_author = json.dumps(call(cloud, "tess", "GET", f"/submissions/{made['id']}")[1])
    assert [secret for secret in SECRETS if secret not in as_author] == []
    assert "X-Amz-" not in shown + as_author, "a judge's URL"


@needs_bubblewrap
def test_who_may_see_and_change_what(cloud, assignment):
    _, made = hand_in(cloud, "ada", "print(2)")
    mine = f"/submissions/{made['id']}"
    assert call(cloud, "bob", "GET", mine)[0] == 404
    assert call(cloud, "bob", "POST", f"{mine}/regrade")[0] == 404
    assert call(cloud, "ada", "POST", f"{mine}/regrade")[0] == 403
    assert call(cloud, "bob", "GET", f"{assignment}/submissions?learner=api_key:ada")[0] == 403
    found = call(cloud, "bob", "GET", f"{assignment}/submissions")[1]
    assert (found["submissions"], found["standing"]["total"]) == ([], 0)
    for who in ("ada", "bob"):
        assert call(cloud, who, "PUT", assignment, {"files": FILES})[0] == 403
        assert call(cloud, who, "PUT", "/assignments/mine", {"files": FILES})[0] == 403
        assert call(cloud, who, "DELETE", assignment)[0] == 403
        assert call(cloud, who, "POST", f"{assignment}/regrade")[0] == 403
    body = {"parts": {"double": {"files": {"main.py": ""}}}, "learner": "api_key:ada"}
    assert call(cloud, "bob", "POST", f"{assignment}/submissions", body)[0] == 403
    for who in ("ada", "opal"):
        judge = call(cloud, who, "POST", "/jobs/usher_judge/invocations", {"parameters": {}})
        assert judge[0] == 403
    marked(cloud, "ada", made["id"])


@needs_bubblewrap
def test_a_judge_runs_in_its_own_cluster_by_its_own_provider(cloud, assignment):
    made = hand_in(cloud, "ada", NOSY)[1]
    marked(cloud, "ada", made["id"])
    (grading,) = call(cloud, "opal", "GET", f"/submissions/{made['id']}")[1]["gradings"]
    invocation = call(cloud, "opal", "GET", f"/invocations/{grading['invocation']}")[1]
    place = "usher-local-graders"
    (task,) = cloud.client("ecs").describe_tasks(cluster=place, tasks=[invocation["taskArn"]])[
        "tasks"
    ]
    assert task["capacityProviderName"] == place
    assert task["clusterArn"].endswith(f":cluster/{place}")


@needs_bubblewrap
def test_a_repeated_request_is_one_submission(cloud, assignment):
    first = hand_in(cloud, "ada", "print(2)", Idempotency_Key="once")
    again = hand_in(cloud, "ada", "print(2)", Idempotency_Key="once")
    other = hand_in(cloud, "ada", "print(3)", Idempotency_Key="once")
    assert [each[0] for each in (first, again, other)] == [202, 200, 409]
    assert first[1]["id"] == again[1]["id"]
    marked(cloud, "ada", first[1]["id"])


@needs_bubblewrap
def test_a_learner_fails_mends_and_passes_and_a_regrade_keeps_the_history(cloud, assignment):
    right = "g = input()\nprint(2 if g == '1' else 'hidden-answer-4712')"
    _, made = hand_in(cloud, "bob", right)
    assert marked(cloud, "bob", made["id"])["score"] == 100
    standing = call(cloud, "bob", "GET", f"{assignment}/submissions")[1]["standing"]
    assert (standing["total"], standing["passed"]) == (100, True)
    changed = FILES | {"2.ans": "another answer"}
    _, put = call(cloud, "tess", "PUT", assignment, {"files": changed})
    assert put["revision"] == 2
    status, again = call(cloud, "tess", "POST", f"/submissions/{made['id']}/regrade")
    assert status == 202, again
    done = marked(cloud, "bob", made["id"])
    assert (done["score"], done["gradings"][0]["revision"]) == (40, 2)
    assert [(old["score"], old["revision"]) for old in done["history"]] == [(100, 1)]
    _, second = hand_in(cloud, "bob", "print('neither')")
    path = f"{assignment}/submissions?limit=1"

    def first_page():
        page = call(cloud, "bob", "GET", path)[1]
        return page if page["submissions"][0]["id"] == second["id"] else None

    newest = wait_until(first_page, 10, "the second one in the index")
    older = call(cloud, "bob", "GET", f"{path}&next={newest['next']}")[1]
    pages = [page["submissions"] for page in (newest, older)]
    assert [[each["id"] for each in page] for page in pages] == [[second["id"]], [made["id"]]]
    assert older["next"] is None
    assert newest["standing"]["total"] == 40


SLEEPY = """
import time
input()
time.sleep(4)
print(2)
"""


def judge_of(cloud, submission):
    """The invocation that marks it now, once it has begun."""

    def look():
        found = call(cloud, "opal", "GET", f"/submissions/{submission}")[1]["gradings"][0]
        return found["invocation"] if found["state"] in {"COMPILING", "RUNNING"} else None

    return wait_until(look, 60, "its judge", every=0.05)


def kill_process_of(invocation):
    """Kill the judge's main process as the kernel does when memory runs out; it reports nothing."""
    mark = f"INVOCATION_ID={invocation}".encode()
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdecimal() and mark in (place / "environ").read_bytes().split(b"\0"):
                os.kill(int(place.name), signal.SIGKILL)
        except OSError:
            continue  # it has just ended, or belongs to another user


@needs_bubblewrap
@pytest.mark.parametrize("end", ["lost", "killed"])
def test_a_judge_that_ends_without_a_mark_is_replaced(cloud, assignment, end):
    _, made = hand_in(cloud, "ada", SLEEPY)
    invocation = judge_of(cloud, made["id"])
    if end == "lost":
        kill_process_of(invocation)
    else:
        assert call(cloud, "opal", "POST", f"/invocations/{invocation}/kill")[0] in {200, 202}
    (grading,) = marked(cloud, "ada", made["id"])["gradings"]
    assert (grading["attempts"], grading["score"]) == (2, 40)
    first = call(cloud, "opal", "GET", f"/invocations/{invocation}")[1]
    assert first["state"] == "FINISHED"
    assert first["reason"] in {end, "failed"}


@needs_bubblewrap
def test_a_burst_of_learners_is_marked_by_few_judges(cloud, assignment):
    """One submission each, all at once: nothing is lost, nothing marked twice."""
    body = {"parts": {"double": {"files": {"main.py": "print(2)"}}}}

    def submit(number):
        path = f"{assignment}/submissions"
        return call(cloud, "opal", "POST", path, body | {"learner": f"learner-{number}"})

    with ThreadPoolExecutor(10) as threads:
        made = list(threads.map(submit, range(BURST)))
    assert [status for status, _ in made] == [202] * BURST
    done = [marked(cloud, "opal", submission["id"])["gradings"] for _, submission in made]
    assert [(g["score"], g["attempts"]) for (g,) in done] == [(40, 1)] * BURST
    judges = {grading["invocation"] for (grading,) in done}
    assert len(judges) < BURST / 2, "each start of a judge serves several"


@needs_bubblewrap
def test_a_mark_outlives_its_documents(cloud, assignment):
    """The bucket's lifecycle removes them first; S3 answers 403 to callers without ListBucket."""
    made = hand_in(cloud, "ada", "print(2)")[1]
    before = marked(cloud, "ada", made["id"])["gradings"][0]
    forget_documents(cloud, before["id"])
    status, after = call(cloud, "ada", "GET", f"/submissions/{made['id']}")
    assert status == 200, after
    kept = after["gradings"][0]
    assert (kept["verdict"], kept["score"]) == (before["verdict"], before["score"])


@needs_bubblewrap
def test_a_multipart_form_is_taken(cloud, assignment):
    line = b"\r\n"
    head = b'Content-Disposition: form-data; name="double"; filename="main.py"'
    parts = [b"--b", head, b"Content-Type: text/plain", b"", b"print(2)", b"--b--", b""]
    request = urllib.request.Request(
        f"{cloud.dispatcher}{assignment}/submissions",
        line.join(parts),
        {"X-Api-Key": KEYS["ada"], "Content-Type": "multipart/form-data; boundary=b"},
    )
    with urllib.request.urlopen(request) as answer:
        made = json.loads(answer.read())
        assert answer.status == 202
    assert marked(cloud, "ada", made["id"])["parts"][0]["files"] == [{"name": "main.py", "size": 8}]


@needs_bubblewrap
def test_the_commands_follow_a_submission(cloud, tmp_path):
    environment = os.environ | {"USHER_URL": cloud.dispatcher, "USHER_API_KEY": KEYS["tess"]}

    def usher(*words):
        command = [sys.executable, "-m", "usher", *map(str, words)]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )

    anagrams = ROOT / "examples" / "graders" / "anagrams"
    put = usher("assignment", "put", anagrams)
    assert put.returncode == 0, put.stderr
    (tmp_path / "main.py").write_bytes((anagrams / "solutions" / "right.py").read_bytes())
    right = usher("submit", "anagrams", f"anagrams={tmp_path / 'main.py'}", "--follow")
    assert right.returncode == 0, right.stdout + right.stderr
    assert "AC, 100 of 100 points" in right.stdout
    (tmp_path / "main.py").write_bytes((anagrams / "solutions" / "wrong.py").read_bytes())
    wrong = usher("submit", "anagrams", f"anagrams={tmp_path / 'main.py'}", "--follow", "--json")
    assert wrong.returncode == 1, wrong.stdout + wrong.stderr
    assert json.loads(wrong.stdout)["gradings"][0]["verdict"] == "WA"
    assert "anagrams" in usher("assignment", "list").stdout
    assert "100 points" in usher("assignment", "show", "anagrams").stdout
    again = usher("assignment", "regrade", "anagrams", "--json")
    assert json.loads(again.stdout) == {"submissions": 2, "gradings": 2}
    one = json.loads(wrong.stdout)["id"]
    assert usher("assignment", "regrade", "other", "--submission", one).returncode == 2
    marked(cloud, "tess", one)
    again = usher("assignment", "regrade", "anagrams", "--submission", one, "--json")
    assert json.loads(again.stdout)["id"] == one, again.stderr
    assert usher("submit", "anagrams", "anagrams").returncode == 2
    assert "no more" in usher("assignment", "remove", "anagrams").stdout
    refused = usher("submit", "anagrams", f"anagrams={tmp_path / 'main.py'}")
    assert refused.returncode == 1
    assert marked(cloud, "tess", one)["gradings"][0]["verdict"] == "WA"


def test_images_that_cannot_be_used_are_the_authors_to_see_and_to_prepare_again(cloud):
    """There is no registry, or no Docker: the judge reports which."""
    image = {"grader.toml": 'kind = "image"\nimage = "127.0.0.1:1/none:1"\nfiles = ["main.py"]\n'}
    status, put = call(cloud, "tess", "PUT", "/assignments/imaged", {"files": image})
    assert (status, put["preparation"]["state"]) == (201, "PREPARING"), put
    body = {"parts": {"imaged": {"files": {"main.py": "1"}}}}
    status, early = call(cloud, "ada", "POST", "/assignments/imaged/submissions", body)
    assert (status, early["gradings"][0]["preparing"]) == (202, True), early

    def failed():
        found = call(cloud, "tess", "GET", "/assignments/imaged")[1]["preparation"]
        return found if found["state"] == "FAILED" else None

    found = wait_until(failed, 120, "the end of the preparation", every=0.3)
    assert "127.0.0.1:1/none:1" in found["reason"] or "Docker" in found["reason"]
    (grading,) = marked(cloud, "ada", early["id"])["gradings"]
    assert (grading["verdict"], grading["score"]) == ("IE", None)
    assert "reason" not in grading
    of_learners = call(cloud, "ada", "GET", "/assignments/imaged")[1]["preparation"]
    assert of_learners == {"state": "FAILED"}
    status, refused = call(cloud, "ada", "POST", "/assignments/imaged/submissions", body)
    assert status == 503
    assert "image of its grader cannot be used" in refused["error"]["message"]
    assert call(cloud, "ada", "POST", "/assignments/imaged/prepare")[0] == 403
    command = [sys.executable, "-m", "usher", "assignment", "prepare", "imaged", "--follow"]
    environment = os.environ | {"USHER_URL": cloud.dispatcher, "USHER_API_KEY": KEYS["tess"]}
    again = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert again.returncode == 3, again.stderr
    assert found["reason"].splitlines()[0] in again.stdout
    mended = call(cloud, "tess", "PUT", "/assignments/imaged", {"files": FILES})[1]
    assert (mended["preparation"]["state"], mended["revision"]) == ("READY", 2)
    status, refused = call(cloud, "tess", "POST", "/assignments/imaged/prepare")
    assert (status, refused["error"]["code"]) == (409, "conflict")
