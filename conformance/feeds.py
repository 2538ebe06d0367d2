"""Records of the stream reach sessions, once and in order, by both ways; and over TLS."""

import json
import uuid
from typing import Any

from conformance.sessions import connected, end_of, obtain
from conformance.target import Session, require

RECORDS = 20


def direct_feed(session: Session) -> str:
    """A session that reads Kinesis itself gets every record, once and in order."""
    return _feed(session, "direct")


def fan_out_feed(session: Session) -> str:
    """A session behind the fan-out feed gets every record, once and in order."""
    session.target.has_fan_out()
    return _feed(session, "cold")


def _feed(session: Session, app: str) -> str:
    kinesis = session.target.client("kinesis")
    stream, mark = f"usher-{session.target.stage}-updates", str(uuid.uuid4())
    found = obtain(session, app)
    with connected(found) as websocket:
        session.sleep(2.0)  # LATEST begins at the reader's first read
        for number in range(RECORDS):
            data = json.dumps({"mark": mark, "number": number}).encode()
            kinesis.put_record(StreamName=stream, Data=data, PartitionKey=mark)
        numbers: list[int] = []
        while len(numbers) < RECORDS:
            numbers += _numbers(json.loads(websocket.recv(timeout=60)), mark)
    require(numbers == list(range(RECORDS)), f"these came: {numbers}")
    end_of(session, found["id"])
    return f"{RECORDS} records, in order"


def _numbers(message: dict[str, Any], mark: str) -> list[int]:
    return [
        record["data"]["number"]
        for record in message.get("records", ())
        if isinstance(record["data"], dict) and record["data"].get("mark") == mark
    ]


def wss(session: Session) -> str:
    """A session's URL is wss, with a certificate that is trusted."""
    session.target.has_tls()
    found = obtain(session, "cold")
    require(found["url"].startswith("wss://"), found["url"])
    with connected(found):
        pass
    end_of(session, found["id"])
    return "connected"
