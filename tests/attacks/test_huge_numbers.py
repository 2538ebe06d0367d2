"""A caller sends numbers that no program expects.

Goal: a 500, a function that computes for long, or a record that cannot be written. Reach: every
number in a query string or a body. Python refuses to convert more than 4,300 digits.
"""

import json

import pytest

from chalicelib.api.http import json_body
from chalicelib.errors import BadRequestError, UsherError
from chalicelib.jobs.description import parse_description
from chalicelib.jobs.listings import parse_listing
from chalicelib.jobs.requests import (
    parse_finish,
    parse_invoke,
    parse_progress,
    parse_start,
)
from chalicelib.schedules.cron import ExpressionError, parse_expression
from chalicelib.schedules.requests import parse_page, parse_schedule
from chalicelib.tasks.requests import LOG_LIMIT
from session_handler.cursor import Cursor, CursorError

DIGITS = "1" * 5_000
HUGE = (DIGITS, "9" * 20, "9" * 400, "-1", "1e400", "١٢", "²", "1_0", "+1", " 1", "0x1", "")


@pytest.mark.parametrize("text", HUGE)
def test_limits_are_small_numbers(text):
    for parse in (
        lambda: LOG_LIMIT.read({"limit": text}),
        lambda: parse_listing({"limit": text}, 0.0),
        lambda: parse_page({"limit": text}),
    ):
        with pytest.raises(BadRequestError, match="limit"):
            parse()


@pytest.mark.parametrize("text", [DIGITS, f"{DIGITS}_x", "1e999_x", "nan_x", "inf_x", "-1_x"])
def test_places_of_pages_are_those_that_were_given(text):
    with pytest.raises(BadRequestError, match="next"):
        parse_listing({"next": text}, 0.0)


@pytest.mark.parametrize("number", [10**20, 10**400, 10**4_000, -(10**400)])
def test_numbers_in_bodies_have_bounds(number):
    process = "12345678"
    with pytest.raises(BadRequestError, match="attempt"):
        parse_start({"attempt": number, "taskArn": None, "process": process})
    with pytest.raises(BadRequestError, match="fraction"):
        parse_progress({"process": process, "fraction": number})
    with pytest.raises(BadRequestError, match="exitCode"):
        parse_finish({"process": process, "outcome": "failed", "exitCode": number})
    with pytest.raises(BadRequestError, match="cpuSeconds"):
        parse_finish({"process": process, "outcome": "failed", "exitCode": 1,
                      "usage": {"cpuSeconds": number}})  # fmt: skip
    for name in ("cpu", "memory", "timeoutSeconds", "queueSeconds"):
        with pytest.raises(BadRequestError, match=name):
            parse_description({"name": "job", name: number})
    with pytest.raises(BadRequestError, match="misfireSeconds"):
        parse_schedule(
            "s", {"job": "j", "expression": "rate(1 day)", "misfireSeconds": number},
            owner="o", callback_base_url="", now=0.0,
        )  # fmt: skip


def test_a_body_with_a_number_of_5000_digits_is_refused():
    with pytest.raises(BadRequestError):
        json_body(f'{{"fraction": {DIGITS}}}'.encode())
    for text in ("1e999", "-1e999", "NaN", "Infinity"):
        with pytest.raises(BadRequestError):
            parse_invoke(json_body(f'{{"parameters": {text}}}'.encode()), {})


@pytest.mark.parametrize("text", [
    f"rate({DIGITS} days)", f"cron({DIGITS} * * * ? *)", f"cron(*/{DIGITS} * * * ? *)",
    f"cron(1-{DIGITS} * * * ? *)", f"cron(0 0 ? * 2#{DIGITS} *)", f"cron(0 0 {DIGITS}W * ? *)",
    f"{DIGITS} * * * *", f"at({DIGITS}-01-01T00:00:00)",
])  # fmt: skip
def test_expressions_have_small_numbers(text):
    with pytest.raises((ExpressionError, UsherError)):
        parse_expression(text)


@pytest.mark.parametrize("text", [
    f"1~t{DIGITS}", f"1~a{DIGITS}", f"1~{DIGITS}-1", f"1~x:{DIGITS}.1", DIGITS, f"{DIGITS}~t1",
    json.dumps({"a": 1}) * 1_000,
])  # fmt: skip
def test_cursors_have_no_endless_numbers(text):
    with pytest.raises(CursorError):
        Cursor.parse(text)
