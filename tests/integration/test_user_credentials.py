"""AWS credentials with the rights of a session's user: which containers get them, when, and which
resources they allow.
"""

import json
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.integration.conftest import ROOT, finish, launch, wait_until
from tests.integration.sessions import client_of, dispatch, task_of, wait_for

APP = """
from session_handler.app import SessionApp


class Holds(SessionApp):
    async def on_start(self, session):
        self.session = session

    async def on_message(self, message):
        found = await self.session.credentials()
        self.session.log.info("holding %r", found)
        await self.session.send({"credentials": list(found)})
"""
READ_ONLY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "*"}],
}
APPS = f"""
default = "files"

[apps.files]
image = "holds"
feed_url = "none"
user_role = "files"
pool = {{ minimum = 1, maximum = 1 }}

[apps.reader]
image = "holds"
feed_url = "none"
user_role = "files"
user_policy = '''{json.dumps(READ_ONLY)}'''

[apps.untrusted]
image = "holds"
feed_url = "none"
user_role = "strangers"

[apps.plain]
image = "holds"
feed_url = "none"
"""
BUCKET, OWN, OTHERS = "user-files", "ip:127.0.0.1/note", "ip:192.0.2.9/note"
ROLE = "usher-local-user-files"
OF_OWNER = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject"],
            "Resource": f"arn:aws:s3:::{BUCKET}/${{aws:PrincipalTag/usher-owner}}/*",
        }
    ],
}


def trust(account):
    tags = ("usher-owner", "usher-session")
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["sts:AssumeRole", "sts:TagSession"],
                "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
                "Condition": {"Null": {f"aws:RequestTag/{tag}": "false" for tag in tags}},
            }
        ],
    }


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cloud")
    image = folder / "holds"
    image.mkdir()
    (image / "holds.py").write_text(APP)
    (image / "Dockerfile").write_text(
        "FROM usher-session\nCOPY holds.py /app/\nENV SESSION_APP=holds:Holds\n"
    )
    apps = folder / "apps.toml"
    apps.write_text(APPS)
    running = launch(folder / "runs", apps=apps, image=f"holds={image}", runtime="process")
    iam = running.client("iam")
    for name, account in ((ROLE, "123456789012"), ("usher-local-user-strangers", "210987654321")):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust(account)))
        iam.put_role_policy(RoleName=name, PolicyName="files", PolicyDocument=json.dumps(OF_OWNER))
    s3 = running.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    for key in (OWN, OTHERS):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"hello")
    yield running
    finish(running)


def key_of(cloud, session_id):
    """The key of a session's container, as ECS has it in the task's environment."""
    task = wait_until(lambda: task_of(cloud, session_id))
    variables = task["overrides"]["containerOverrides"][0]["environment"]
    return {one["name"]: one["value"] for one in variables}


def ask(cloud, session_id, key):
    headers = {"Authorization": f"Bearer {key}"}
    return cloud.http("GET", f"/sessions/{session_id}/credentials", headers=headers)


def files_of(cloud, credentials):
    key, secret, token = credentials[:3]
    return boto3.session.Session().client(
        "s3",
        endpoint_url=cloud.aws,
        region_name=cloud.ready["region"],
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def held_by(session):
    """Returns the credentials that the session's app gets from its container."""
    with client_of(session) as (websocket, _):
        websocket.send('{"type": "app"}')
        return json.loads(websocket.recv(timeout=20))["credentials"]


def refused(call, *arguments, **parameters):
    with pytest.raises(ClientError) as error:
        call(*arguments, **parameters)
    return error.value.response["Error"]["Code"]


def test_a_container_gets_them_once_it_has_a_user_and_until_it_ends(cloud):
    def warm():
        tasks = [task for task in cloud.tasks() if task["lastStatus"] == "RUNNING"]
        ids = [task["startedBy"].removeprefix("session/") for task in tasks]
        found = [cloud.http("GET", f"/sessions/{one}")[1] for one in ids]
        return next((one["id"] for one in found if one["state"] == "WARM"), None)

    waiting = wait_until(warm, 30, "a warm container")
    environment = key_of(cloud, waiting)
    assert environment["CREDENTIALS_URL"].endswith(f"/sessions/{waiting}/credentials")
    key = environment["SESSION_KEY"]
    status, body = ask(cloud, waiting, key)
    assert (status, body["error"]["code"]) == (409, "conflict")
    session = dispatch(cloud)
    assert (session["id"], session["warm"]) == (waiting, True)
    status, body = ask(cloud, waiting, key)
    assert status == 200, body
    assert body["RoleArn"] == f"arn:aws:iam::123456789012:role/{ROLE}"
    given = (body["AccessKeyId"], body["SecretAccessKey"], body["Token"])
    assert files_of(cloud, given).get_object(Bucket=BUCKET, Key=OWN)["Body"].read() == b"hello"
    forged = (*given[:2], "forged")
    assert refused(files_of(cloud, forged).get_object, Bucket=BUCKET, Key=OWN)
    cloud.http("DELETE", f"/sessions/{waiting}")
    assert ask(cloud, waiting, key)[0] == 409
    wait_for(cloud, waiting, "ENDED")
    assert ask(cloud, waiting, key)[0] == 409
    nowhere(cloud, given[1:])


def nowhere(cloud, secrets):
    """No log and no record has any of these."""
    texts = [path.read_text("utf-8", "replace") for path in _files(cloud.folder)]
    texts += [json.dumps(page, default=str) for page in _records(cloud)]
    assert not [text for text in texts for secret in secrets if secret in text]


def _files(folder: Path):
    return [path for path in folder.rglob("*") if path.is_file()]


def _records(cloud):
    dynamodb = cloud.client("dynamodb")
    for name in dynamodb.list_tables()["TableNames"]:
        yield from dynamodb.get_paginator("scan").paginate(TableName=name)


def test_they_reach_what_is_their_owners_and_nothing_else(cloud):
    session = dispatch(cloud, "?app=files&wait=25")
    held = held_by(session)
    s3 = files_of(cloud, held)
    s3.put_object(Bucket=BUCKET, Key=OWN, Body=b"mine")
    for key in (OTHERS, "note", "ip:127.0.0.10/note"):
        assert refused(s3.get_object, Bucket=BUCKET, Key=key) == "AccessDenied"
    nowhere(cloud, held[1:3])


def test_an_apps_policy_limits_them(cloud):
    s3 = files_of(cloud, held_by(dispatch(cloud, "?app=reader&wait=25")))
    s3.get_object(Bucket=BUCKET, Key=OWN)
    assert refused(s3.put_object, Bucket=BUCKET, Key=OWN, Body=b"x") == "AccessDenied"
    assert refused(s3.get_object, Bucket=BUCKET, Key=OTHERS) == "AccessDenied"


def test_the_key_of_another_session_gets_none(cloud):
    one, other = dispatch(cloud, "?app=reader&wait=25"), dispatch(cloud, "?app=plain&wait=25")
    keys = {each["id"]: key_of(cloud, each["id"])["SESSION_KEY"] for each in (one, other)}
    assert ask(cloud, one["id"], keys[other["id"]])[0] == 401
    assert ask(cloud, one["id"], "")[0] == 401
    assert ask(cloud, other["id"], keys[other["id"]])[0] == 404, "its app has no user_role"
    assert "CREDENTIALS_URL" not in key_of(cloud, other["id"])


def test_a_role_that_does_not_trust_the_dispatcher_gives_none(cloud):
    session = dispatch(cloud, "?app=untrusted&wait=25")
    status, body = ask(cloud, session["id"], key_of(cloud, session["id"])["SESSION_KEY"])
    assert (status, body["error"]["code"]) == (503, "unavailable")
    assert "arn:" not in body["error"]["message"]


def test_an_operator_takes_those_of_one_session_back_at_once(cloud):
    """The statement of docs/security.md."""
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    policy = text.partition("```json\n")[2].partition("```")[0]
    one, other = dispatch(cloud, "?app=reader&wait=25"), dispatch(cloud, "?app=reader&wait=25")
    held = {each["id"]: files_of(cloud, held_by(each)) for each in (one, other)}
    cloud.client("iam").put_role_policy(
        RoleName=ROLE, PolicyName="revoked", PolicyDocument=policy.replace("SESSION", one["id"])
    )
    assert refused(held[one["id"]].get_object, Bucket=BUCKET, Key=OWN) == "AccessDenied"
    held[other["id"]].get_object(Bucket=BUCKET, Key=OWN)
