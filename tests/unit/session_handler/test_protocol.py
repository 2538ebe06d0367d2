"""The session's life: sentences about events, and a machine that tries all orders of them."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chalicelib.contract import Bye, Callback
from session_handler.cursor import Cursor, Horizon
from session_handler.messages import BadMessageError
from session_handler.protocol import (
    HANDOVER_SECONDS,
    Exit,
    Goodbye,
    Limits,
    Pause,
    Phase,
    Report,
    Session,
    Stream,
)
from tests.machines import machine_settings

CURSOR = Cursor({"shard": Horizon()})


def session(connect=30.0, grace=0.0, maximum=100.0):
    return Session(Limits(connect, grace, maximum), now=0.0)


def reports(actions):
    return [(a.type, *a.fields.values()) for a in actions if isinstance(a, Report)]


def test_ready_is_reported_once_and_starts_the_connect_deadline():
    s = session()
    assert s.next_deadline == 100
    assert s.ready(5.0) == [Report(Callback.READY, {})]
    assert s.ready(6.0) == []
    assert s.next_deadline == 35


def test_a_client_is_reported_and_served():
    s = session()
    s.ready(0)
    assert s.client_arrived(CURSOR) == [
        Report(Callback.CONNECTED, {}),
        Stream(CURSOR, resumes=False),
    ]
    assert s.next_deadline == 100


def test_a_client_before_ready_is_served_when_ready():
    s = session()
    assert s.client_arrived(None) == []
    assert s.ready(1) == [
        Report(Callback.READY, {}),
        Report(Callback.CONNECTED, {}),
        Stream(None, resumes=False),
    ]


def test_the_end_of_the_client_is_the_end_of_the_session():
    s = session()
    s.ready(0)
    s.client_arrived(None)
    assert s.client_left(9) == [
        Report(Callback.DISCONNECTED, {}),
        Report(Callback.STOPPING, {"reason": "disconnected"}),
        Exit(0),
    ]
    assert s.phase is Phase.OVER


def test_within_the_grace_a_client_may_come_back():
    s = session(grace=10)
    s.ready(0)
    s.client_arrived(None)
    assert s.client_left(20) == [Pause()]
    assert s.next_deadline == 30
    assert s.client_arrived(None) == [Stream(None, resumes=True)]
    assert s.client_left(40) == [Pause()]
    assert s.deadline_reached(49.9) == []
    assert reports(s.deadline_reached(50)) == [("disconnected",), ("stopping", "disconnected")]


def test_nobody_came():
    s = session()
    s.ready(0)
    assert s.deadline_reached(30) == [
        Report(Callback.STOPPING, {"reason": "never_connected"}),
        Exit(0),
    ]


def test_without_a_connect_deadline_a_warm_session_waits():
    s = session(connect=0)
    s.ready(0)
    assert s.next_deadline == 100


def test_without_any_limit_there_is_no_deadline():
    s = session(connect=0, maximum=0)
    s.ready(0)
    assert s.next_deadline is None


def test_the_maximum_age_says_goodbye_to_the_client():
    s = session()
    s.ready(0)
    s.client_arrived(None)
    assert s.deadline_reached(100) == [
        Goodbye(Bye.EXPIRED, 1001, ""),
        Report(Callback.STOPPING, {"reason": "expired"}),
        Exit(0),
    ]


def test_a_failure_exits_1_and_tells_what():
    s = session()
    s.ready(0)
    s.client_arrived(None)
    assert s.end(Bye.FEED_FAILED, "gone") == [
        Goodbye(Bye.FEED_FAILED, 1011, "gone"),
        Report(Callback.STOPPING, {"reason": "feed_failed", "detail": "gone"}),
        Exit(1),
    ]


def test_a_slow_client_is_told_to_try_again_later():
    s = session(grace=10)
    s.ready(0)
    s.client_arrived(None)
    actions = s.end(Bye.SLOW_CLIENT)
    assert actions[0] == Goodbye(Bye.SLOW_CLIENT, 1013, "")
    assert actions[-1] == Exit(0)


def test_a_failed_start_is_reported_as_such():
    s = session()
    assert s.failed_to_start("no stream") == [
        Report(Callback.FAILED, {"detail": "no stream"}),
        Exit(1),
    ]


def test_a_client_that_breaks_the_contract_gets_no_grace():
    s = session(grace=10)
    s.ready(0)
    s.client_arrived(None)
    actions = s.client_misbehaved(BadMessageError(1008, "what?"))
    assert actions[0] == Goodbye(Bye.DISCONNECTED, 1008, "what?")
    assert actions[-1] == Exit(0)


def test_a_replaced_client_leaves_its_place_to_another_whatever_the_grace():
    s = session(grace=0.0)
    s.ready(0)
    s.client_arrived(None)
    assert s.client_replaced(10) == [Pause()]
    assert s.takes_clients
    assert s.client_arrived(CURSOR) == [Stream(CURSOR, resumes=True)]


def test_without_the_other_one_the_session_ends_all_the_same():
    s = session(grace=0.0)
    s.ready(0)
    s.client_arrived(None)
    s.client_replaced(10)
    assert s.next_deadline == 10 + HANDOVER_SECONDS
    assert Exit(0) in s.deadline_reached(10 + HANDOVER_SECONDS)


class Life(RuleBasedStateMachine):
    """Any events in any order: one exit, after which nothing happens, and callbacks in order."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.session = Session(Limits(30, 10, 200), self.now)
        self.actions = []
        self.client_is_there = False

    def note(self, actions):
        assert not (self.exits and actions), "nothing happens after the exit"
        self.actions += actions
        if any(isinstance(action, Goodbye) for action in actions):
            self.client_is_there = False

    @property
    def exits(self):
        return [action for action in self.actions if isinstance(action, Exit)]

    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds):
        self.now += seconds
        self.note(self.session.deadline_reached(self.now))

    @rule()
    def deadline_comes(self):
        if self.session.next_deadline is not None:
            self.now = max(self.now, self.session.next_deadline)
            self.note(self.session.deadline_reached(self.now))
            assert self.session.next_deadline is None or self.session.next_deadline > self.now

    @rule()
    def ready(self):
        self.note(self.session.ready(self.now))

    @rule()
    def start_fails(self):
        if not self.session.is_ready:
            self.note(self.session.failed_to_start("detail"))

    @precondition(lambda self: self.session.takes_clients)
    @rule(cursor=st.sampled_from([None, CURSOR]))
    def client_arrives(self, cursor):
        self.client_is_there = True
        self.note(self.session.client_arrived(cursor))

    @rule()
    def client_leaves(self):
        self.client_is_there = False
        self.note(self.session.client_left(self.now))

    @rule()
    def client_is_replaced(self):
        self.client_is_there = False
        self.note(self.session.client_replaced(self.now))

    @rule()
    def client_misbehaves(self):
        self.note(self.session.client_misbehaved(BadMessageError(1008, "bad")))

    @rule(reason=st.sampled_from([Bye.STOPPED, Bye.SLOW_CLIENT, Bye.FEED_FAILED, Bye.APP_FAILED]))
    def ends(self, reason):
        self.note(self.session.end(reason))

    @invariant()
    def there_is_one_exit_at_the_end(self):
        assert len(self.exits) == (self.session.phase is Phase.OVER)
        assert not self.exits or self.actions[-1] is self.exits[0]

    @invariant()
    def nothing_lasts_for_ever(self):
        assert self.session.phase is Phase.OVER or self.session.next_deadline is not None

    @invariant()
    def callbacks_come_in_the_order_of_the_contract(self):
        types = [a.type for a in self.actions if isinstance(a, Report)]
        order = ["ready", "connected", "disconnected", "stopping"]
        if Callback.FAILED in types:
            assert types == ["failed"]
        else:
            assert types == sorted(set(types), key=order.index)
            assert (Callback.STOPPING in types) == bool(self.exits)

    @invariant()
    def a_client_that_is_there_was_not_forgotten(self):
        if self.session.phase is Phase.OVER:
            assert not self.client_is_there, "no goodbye was said"

    @invariant()
    def streams_begin_once_and_go_on(self):
        streams = [action for action in self.actions if isinstance(action, Stream)]
        assert [stream.resumes for stream in streams] == [n > 0 for n in range(len(streams))]


Life.TestCase.settings = machine_settings(examples=150, steps=25)
TestLife = Life.TestCase
