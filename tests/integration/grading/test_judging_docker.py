"""A run whose session and job containers are Docker's; judges are still processes of the
machine.
"""

import hashlib

from chalicelib.grading.lifecycle import REFERENCE
from local.judge import on_loopback
from tests.integration.conftest import wait_until
from tests.needs import needs_docker

KEY = "key-of-opal-xxxxxxxxxxxxxxxx"
FILES = {
    "grader.toml": 'files = ["main.py"]\nrun = ["python3", "main.py"]\n'
    '[[cases]]\ninput = "1.in"\nanswer = "1.ans"\n',
    "Dockerfile": "ARG USHER_BASE_IMAGE\nFROM ${USHER_BASE_IMAGE}\n",
    "1.in": "1",
    "1.ans": "2",
}


def test_judges_are_given_the_loopback_in_the_place_of_the_containers_address():
    given = {"URL": "http://172.18.0.1:8000/invocations/1", "OTHER": "http://172.18.0.10:1/"}
    assert on_loopback(given, None) == given
    found = on_loopback(given, "172.18.0.1")
    assert found == given | {"URL": "http://127.0.0.1:8000/invocations/1"}


@needs_docker
def test_a_submission_is_marked_as_soon_as_the_image_is_prepared(start_cloud):
    cloud = start_cloud(
        runtime="docker",
        feed_engine="direct",
        environment={
            "AUTH_MODE": "api_key",
            "API_KEYS": f"opal:{hashlib.sha256(KEY.encode()).hexdigest()}",
            "OPERATORS": "opal",
        },
    )
    headers = {"X-Api-Key": KEY}
    status, put = cloud.http("PUT", "/assignments/double", {"files": FILES}, headers)
    assert (status, put["preparation"]["state"]) == (201, "PREPARING")
    body = {"parts": {"double": {"files": {"main.py": "print(2)"}}}}
    made = [
        cloud.http("POST", "/assignments/double/submissions", body, headers)[1] for _ in range(2)
    ]

    def marked(submission):
        found = cloud.http("GET", f"/submissions/{submission['id']}", None, headers)[1]
        return found["gradings"][0] if found["state"] == "FINISHED" else None

    first = made[0]["gradings"][0]
    assert (first["state"], first["preparing"], first["position"]) == ("QUEUED", True, None)
    for submission in made:
        grading = wait_until(lambda s=submission: marked(s), 120, "the mark", every=0.5)
        assert (grading["verdict"], grading["attempts"]) == ("AC", 1)
    found = cloud.http("GET", "/assignments/double", None, headers)[1]["preparation"]
    assert found["state"] == "READY"
    assert REFERENCE.fullmatch(found["images"]["double"])
