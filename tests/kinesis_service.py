"""The embedded cloud's Kinesis alone, on a port of its own, with a clock that tests move."""

import time
from contextlib import contextmanager
from socket import create_server

import boto3
from botocore.config import Config

from local.aws.endpoint import OBSERVER, Endpoint, Hosts
from local.aws.faults import Faults
from local.aws.http_server import HttpServer
from local.aws.kinesis.api import KinesisApi
from local.aws.kinesis.switches import Switches
from local.aws.wire import json_answer


class Clock:
    """The service's time: the machine's and what tests add to it, or standing still."""

    def __init__(self):
        self.ahead = 0.0
        self._still = None

    def stop(self, instant=None):
        self._still = instant or time.time()

    def __call__(self):
        return (self._still or time.time()) + self.ahead


class Service:
    def __init__(self, url, api, clock, faults, calls):
        self.url, self.api, self.clock, self.faults = url, api, clock, faults
        self.calls = calls

    def client(self, *, observer=False):
        return boto3.session.Session().client(
            "kinesis",
            endpoint_url=self.url,
            region_name="eu-central-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(
                retries={"total_max_attempts": 1},
                user_agent_extra=OBSERVER if observer else "",
            ),
        )


@contextmanager
def serve_kinesis():
    """The service on a free port, without read limits, for as long as the context lasts."""
    clock, faults = Clock(), Faults()
    api = KinesisApi("eu-central-1", "123456789012", Switches(read_limits=False), clock)
    endpoint = Endpoint(
        moto=None,
        ecs=None,
        hosts=Hosts(lambda _: None, lambda _: None, lambda _: None),
        faults=faults,
        control=lambda _: json_answer({}),
        publish=lambda _: None,
        region="eu-central-1",
        kinesis=api,
    )
    listener = create_server(("127.0.0.1", 0))
    server = HttpServer(listener, endpoint.answer)
    server.start()
    try:
        yield Service(
            f"http://127.0.0.1:{listener.getsockname()[1]}",
            api,
            clock,
            faults,
            lambda: endpoint.calls,
        )
    finally:
        server.close()
