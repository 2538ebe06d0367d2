"""Apps that write to the stream, with the rights of their container's role and no others."""

import json

import pytest

from tests.integration.sessions import client_of, dispatch
from tests.needs import needs_redis

APP = """
from dataclasses import replace

from session_handler.app import SessionApp
from session_handler.publishing import Publisher, PublishError
from session_handler.settings import parse
import os


class Writes(SessionApp):
    async def on_start(self, session):
        self.session = session

    async def on_message(self, message):
        if "times" in message:
            message["data"] *= message["times"]
        try:
            if "stream" in message:  # past the session: what do the credentials allow?
                settings = replace(parse(os.environ), feed_write_url=message["stream"])
                await Publisher(settings).publish(message["data"], "key")
            else:
                await self.session.publish(message["data"], partition_key=message.get("key"))
        except (PublishError, ValueError) as error:
            await self.session.send({"error": f"{getattr(error, 'code', '')} {error}"})
        else:
            await self.session.send({"done": True})
"""
APPS = """
default = "writes"

[apps.writes]
image = "writes"
writes_feed = true

[apps.reads]
image = "writes"
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "writes"
    folder.mkdir()
    (folder / "writes.py").write_text(APP)
    (folder / "Dockerfile").write_text(
        "FROM usher-session\nCOPY writes.py /app/\nENV SESSION_APP=writes:Writes\n"
    )
    (tmp_path / "apps.toml").write_text(APPS)
    return folder


@pytest.fixture(params=["direct", needs_redis.parameter("redis", id="redis")])
def cloud(request, folder, start_cloud):
    image, apps = f"writes={folder}", folder.parent / "apps.toml"
    return start_cloud(apps=apps, image=image, feed_engine=request.param)


def ask(websocket, **message):
    websocket.send(json.dumps({"type": "app", **message}))
    return until(websocket, "app")


def until(websocket, kind):
    while (message := json.loads(websocket.recv(20)))["type"] != kind:
        pass
    return message


def test_what_one_session_publishes_comes_to_all_and_others_may_not(cloud):
    cloud.client("kinesis").create_stream(StreamName="usher-local-other", ShardCount=1)
    writer, reader = dispatch(cloud, "?wait=25"), dispatch(cloud, "?app=reads&wait=25")
    with client_of(writer) as (writes, _), client_of(reader) as (reads, _):
        assert ask(writes, data={"n": "é"}, key="room")["done"]
        for websocket in (writes, reads):
            (record,) = until(websocket, "records")["records"]
            assert (record["data"], record["partitionKey"]) == ({"n": "é"}, "room")
        assert ask(writes, data=1)["done"]
        (record,) = until(reads, "records")["records"]
        assert (record["data"], record["partitionKey"]) == (1, writer["id"])
        assert "at most 65536 bytes" in ask(writes, data="é", times=32_768)["error"]
        assert "NoRight" in ask(reads, data=1)["error"]
        other = ask(writes, data=1, stream="kinesis://usher-local-other")["error"]
        assert "AccessDenied" in other
        mine = ask(reads, data=1, stream=f"kinesis://{cloud.stream}")["error"]
        assert "AccessDenied" in mine or "NoCredentials" in mine or "Missing" in mine, mine
