"""Requests about assignments and submissions: parsed completely, or refused with a reason."""

import base64
import io
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import BadRequestError, NotFoundError
from chalicelib.grading import archives
from chalicelib.grading.multipart import FormField, parse_multipart
from chalicelib.grading.requests import (
    accept,
    parse_assignment_id,
    parse_listing,
    parse_put,
    parse_submit,
    part_infos,
    read_form,
    show_next,
)
from tests.unit.chalicelib.grading.test_decisions import assignment

GRADER = 'files = ["a"]\nrun = ["cat"]\n[[cases]]\ninput = "1.in"\nanswer = "1.ans"\npoints = 10\n'
FILES = {"grader.toml": GRADER, "1.in": "1", "1.ans": "2", "solutions/right": "secret"}


def zipped(entries):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return {"archive": {"base64": base64.b64encode(target.getvalue()).decode()}}


def test_an_assignment_by_files_and_by_archive_is_the_same_without_solutions():
    found, files = parse_put("double", {"files": FILES})
    again, same = parse_put("double", zipped(FILES.items()))
    assert sorted(files) == ["1.ans", "1.in", "grader.toml"]
    assert archives.pack(files) == archives.pack(same)
    assert part_infos(found) == part_infos(again)
    (part,) = part_infos(found)
    assert (part.name, part.max_score, part.files, part.cases) == ("double", 10.0, ("a",), 1)


@pytest.mark.parametrize(
    "body",
    [
        None, {}, {"files": {}}, {"files": {"grader.toml": 3}},
        {"files": {"grader.toml": {"base64": "?"}}}, {"files": {"grader.toml": "[["}},
        {"files": {**FILES, "../x": ""}}, {"files": {**FILES, "/x": ""}},
        {"files": {**FILES, "a//b": ""}}, {"files": {**FILES, "a\\b": ""}},
        {"files": {**FILES, "x": "\ud800"}}, {"files": {"1.in": "1"}},
        {"archive": {"base64": "AAAA"}}, zipped([("../x", b"")]),
        zipped([("a", b"1"), ("b\u202e", b"2")]),
        zipped([("big", b"0" * (64 * 1024 * 1024 + 1))]),
    ],
)  # fmt: skip
def test_what_is_no_assignment_is_refused(body):
    with pytest.raises(BadRequestError):
        parse_put("double", body)


def test_all_problems_of_a_grader_are_named_at_once():
    with pytest.raises(BadRequestError, match=r"(?s)cases.*run"):
        parse_put("double", {"files": {"grader.toml": 'files = ["a"]'}})


@pytest.mark.parametrize("name", ["", "A", "1a", "a/b", "a" * 41, "ü"])
def test_ids_of_assignments(name):
    with pytest.raises(NotFoundError):
        parse_assignment_id(name)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.binary(max_size=200)))
def test_archives_come_back_as_they_were(files):
    assert archives.unpack(archives.pack(files)) == files


@given(st.binary(max_size=400))
def test_garbage_is_no_archive_and_no_form(data):
    for read in (archives.unpack, lambda d: parse_multipart("multipart/form-data; boundary=b", d)):
        try:
            read(data)
        except BadRequestError:
            continue


WANTED = assignment(0, p=10.0)


def test_files_of_unknown_parts_and_names_are_refused():
    for parts, words in (
        ({"q": {"files": {"f": "1"}}}, "no part"),
        ({"p": {"files": {"g": "1"}}}, "not asked for"),
        ({"p": {"files": {"f": "0" * (1024 * 1024 + 1)}}}, "1 MiB"),
        ({"p": {"files": {"../f": "1"}}}, "without folders"),
    ):
        with pytest.raises(BadRequestError, match=words):
            accept(WANTED, parse_submit({"parts": parts}))
    taken = accept(WANTED, parse_submit({"parts": {"p": {"files": {"f": {"base64": "aGk="}}}}}))
    assert taken == {"p": {"f": b"hi"}}


def test_parts_together_are_bounded():
    two = assignment(0, p=10.0, q=10.0)
    parts = {name: {"files": {"f": "0" * (600 * 1024)}} for name in ("p", "q")}
    with pytest.raises(BadRequestError, match="together"):
        accept(two, parse_submit({"parts": parts}))


@pytest.mark.parametrize(
    "body",
    [
        None, [], {}, {"parts": {}}, {"parts": {"p": {}}}, {"parts": {"p": {"files": {}}}},
        {"parts": {"p": {"files": {"f": 1}}}}, {"parts": {"p": {"files": {"f": "1"}, "x": 1}}},
        {"parts": {"p": {"files": {"f": "1"}}}, "learner": ""},
        {"parts": {"p": {"files": {"f": "1"}}}, "score": 100},
    ],
)  # fmt: skip
def test_what_is_no_submission_is_refused(body):
    with pytest.raises(BadRequestError):
        parse_submit(body)


def test_another_file_is_another_request():
    def digest(text, **more):
        return parse_submit({"parts": {"p": {"files": {"f": text}}}} | more).digest

    assert digest("1") == digest("1") != digest("2")
    assert digest("1") != digest("1", learner="ada")


def form(fields, boundary):
    body = b""
    for field in fields:
        name = f'; filename="{field.filename}"' if field.filename is not None else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field.name}"{name}\r\n\r\n'
        body += head.encode() + field.data + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


NAME = st.from_regex(r"[a-z][a-z0-9_.-]{0,20}", fullmatch=True)


@given(
    st.lists(
        st.builds(FormField, NAME, st.none() | NAME, st.binary(max_size=100)),
        min_size=1,
        max_size=8,
    )
)
def test_a_form_comes_back_as_it_was_sent(fields):
    sent = form(fields, "----a boundary that no data has")
    content_type = 'multipart/form-data; boundary="----a boundary that no data has"'
    assert parse_multipart(content_type, sent) == fields


def test_a_file_of_a_part_twice_is_refused():
    field = FormField("p", "f", b"1")
    assert read_form([field]).parts == {"p": {"f": b"1"}}
    with pytest.raises(BadRequestError, match="twice"):
        read_form([field, field])
    with pytest.raises(BadRequestError, match="no file"):
        read_form([])


def test_a_token_is_good_for_the_same_learner_alone():
    key = json.dumps({"id": {"S": "x"}, "created_at": {"N": "1"}})
    token = show_next(key, "ada")
    assert json.loads(parse_listing({"next": token, "learner": "ada"}).after) == json.loads(key)
    for query in ({"next": token}, {"next": token, "learner": "bob"}, {"next": "AAAA"}):
        with pytest.raises(BadRequestError):
            parse_listing(query)


@pytest.mark.parametrize("limit", ["0", "51", "x", "-1", "1.5", "9" * 5000])
def test_limits_of_pages(limit):
    with pytest.raises(BadRequestError):
        parse_listing({"limit": limit})
