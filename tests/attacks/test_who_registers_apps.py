"""An operator, or an attacker with an operator's key, registers a session app with more rights than
an app may have.

Goal: root in a container, a folder of the host, more of the cluster than an app may have. Reach:
`PUT /apps/{name}`.
"""

import pytest

from chalicelib.config import AppBounds
from chalicelib.errors import BadRequestError
from chalicelib.sessions.registered import parse_registered

BOUNDS = AppBounds(cpu=4096, memory=8192, pool=20)


def register(**description):
    return parse_registered("mine", "any", description, BOUNDS)


@pytest.mark.parametrize(
    "user",
    ["root", "0", "00", "0:0", "root:65534", "+0", "-0", "+0:65534", "toor", "Root", "0x0",
     "1000:root", " 0", "0 ", "0\n", "1000\n", "٠", "1e0", ":0", "1000:", "", "4294967296000"],
)  # fmt: skip
def test_no_user_that_may_be_root_is_taken(user):
    with pytest.raises(BadRequestError, match="user"):
        register(user=user)


@pytest.mark.parametrize("user", ["1", "1000", "65534:65534", "1000:0"])
def test_numbers_of_other_users_are(user):
    assert register(user=user).user == user


@pytest.mark.parametrize(
    "description",
    [{"certificates": "/etc"}, {"image": "other"}, {"cpu": 4097}, {"memory": 8193},
     {"pool": {"maximum": 21}}, {"privileged": True}, {"task_role_arn": "arn:aws:iam::1:role/x"},
     {"volumes": ["/:/host"]}, {"environment": {"A": "x" * 20_000}}],
    ids=str,
)  # fmt: skip
def test_what_reaches_beyond_the_container_is_refused(description):
    with pytest.raises(BadRequestError):
        register(**description)
