"""Signatures, with botocore's own signer as the judge."""

import string
from datetime import UTC, datetime

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.sigv4 import Credentials, Signer

NAMES = st.text(string.ascii_letters + "-", min_size=1, max_size=12).map(lambda n: f"X-{n}")
VALUES = st.text(string.ascii_letters + string.digits + " .;=/", max_size=30).map(str.strip)
KEYS = st.text(string.ascii_letters + string.digits + "/+", min_size=1, max_size=40)
INSTANTS = st.datetimes(datetime(2015, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds of aware ones


class SigV4At(botocore.auth.SigV4Auth):
    """Botocore's signer at a given instant, without touching its clock."""

    def __init__(self, instant, *args):
        super().__init__(*args)
        self._instant = instant

    def add_auth(self, request):
        request.context["timestamp"] = self._instant.strftime("%Y%m%dT%H%M%SZ")
        self._modify_request_before_signing(request)
        to_sign = self.string_to_sign(request, self.canonical_request(request))
        self._inject_signature_to_request(request, self.signature(to_sign, request))


@given(
    access_key=KEYS,
    secret_key=KEYS,
    token=st.none() | KEYS,
    headers=st.dictionaries(NAMES, VALUES, max_size=4),
    body=st.binary(max_size=200),
    region=st.sampled_from(["us-east-1", "eu-north-1", "cn-north-1"]),
    now=INSTANTS,
)
def test_it_signs_as_botocore_does(access_key, secret_key, token, headers, body, region, now):
    headers = {
        k: v for k, v in headers.items() if list(map(str.lower, headers)).count(k.lower()) == 1
    }
    host = f"kinesis.{region}.amazonaws.com"
    ours = Signer("kinesis", region).sign(
        Credentials(access_key, secret_key, token),
        method="POST",
        path="/",
        headers={"Host": host, **headers},
        body=body,
        now=now,
    )
    request = AWSRequest("POST", f"https://{host}/", headers={**headers}, data=body)
    request.context["timestamp"] = now.strftime("%Y%m%dT%H%M%SZ")
    judge = SigV4At(now, BotocoreCredentials(access_key, secret_key, token), "kinesis", region)
    judge.add_auth(request)
    assert ours["Authorization"] == request.headers["Authorization"]
    assert ours["X-Amz-Date"] == request.headers["X-Amz-Date"]
    assert ours.get("X-Amz-Security-Token") == request.headers.get("X-Amz-Security-Token")


def test_the_signing_key_follows_the_day_and_the_secret():
    signer = Signer("kinesis", "us-east-1")

    def signature(secret, day):
        signed = signer.sign(
            Credentials("A", secret),
            method="POST",
            path="/",
            headers={"Host": "h"},
            body=b"",
            now=datetime(2026, 1, day, tzinfo=UTC),
        )
        return signed["Authorization"]

    first = signature("s", 1)
    assert len({first, signature("s", 2), signature("t", 1)}) == 3
    assert signature("s", 1) == first
