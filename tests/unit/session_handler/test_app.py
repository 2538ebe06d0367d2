"""Session apps: what may be named, and what happens to what may not."""

import pytest

from session_handler.app import AppError, SessionApp, load_app


class Filter(SessionApp):
    async def on_record(self, record):
        return None


class Broken(SessionApp):
    def __init__(self):
        raise RuntimeError("out of order")


class Listener(SessionApp):
    async def on_message(self, message):
        pass


def test_without_a_name_everything_is_forwarded():
    assert load_app(None).forwards_everything


def test_an_app_that_looks_at_records_sees_them():
    assert not load_app(f"{__name__}:Filter").forwards_everything
    assert load_app(f"{__name__}:Listener").forwards_everything


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no.such.module:App", "ModuleNotFoundError"),
        (f"{__name__}:Nothing", "AttributeError"),
        (f"{__name__}:pytest", "not a subclass"),
        ("json:loads", "not a subclass"),
        (f"{__name__}:Broken", "out of order"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_reason(name, words):
    with pytest.raises(AppError, match=words) as error:
        load_app(name)
    assert name in str(error.value)
