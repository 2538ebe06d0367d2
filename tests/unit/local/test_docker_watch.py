"""Ends of containers in the Docker Engine's event stream, with a fake stream."""

import queue

import pytest

from local.hosts.docker_watch import ExitWatch

LONG = 10.0


class Events:
    """The Engine's stream: what is put into it, until it is closed."""

    def __init__(self):
        self._queue = queue.SimpleQueue()

    def put(self, action, container, **attributes):
        self._queue.put({"Action": action, "Actor": {"ID": container, "Attributes": attributes}})

    def close(self):
        self._queue.put(None)

    def __iter__(self):
        return iter(self._queue.get, None)


class Engine:
    def __init__(self):
        self.stream = Events()

    def events(self, **_):
        return self.stream

    def containers(self, **_):
        return []


@pytest.fixture
def told():
    return queue.SimpleQueue()


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def watch(engine, told):
    watch = ExitWatch(engine, "run", lambda *end: told.put(end), set)
    yield watch
    watch.close()


def test_memory_that_ran_out_is_known_with_the_end(engine, watch, told):
    engine.stream.put("oom", "a")
    engine.stream.put("die", "a", exitCode="137")
    assert told.get(timeout=LONG) == ("a", 137, True)


def test_memory_that_ran_out_may_be_told_after_the_end(engine, watch, told):
    engine.stream.put("die", "a", exitCode="137")
    assert told.get(timeout=LONG) == ("a", 137, False)
    assert not watch.ran_out_of_memory("a", 0)
    engine.stream.put("oom", "a")
    assert watch.ran_out_of_memory("a", LONG)
    assert not watch.ran_out_of_memory("b", 0)
    watch.forget("a")
    assert not watch.ran_out_of_memory("a", 0)
