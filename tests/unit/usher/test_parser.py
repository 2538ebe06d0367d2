"""Options and parameters in any order."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.cli.main import build_parser


def parsed(*words):
    return build_parser().parse_args(words)


@pytest.mark.parametrize(
    "order", itertools.permutations([["echo"], ["name=Ada"], ["--follow"], ["--key", "k"]])
)
def test_any_order_means_the_same(order):
    words = [word for part in order for word in part]
    if words.index("echo") > words.index("name=Ada"):
        return  # the job is the first word that is no option
    found = parsed("invoke", *words)
    assert (found.job, found.parameters) == ("echo", ["name=Ada"])
    assert (found.follow, found.key) == (True, "k")


@pytest.mark.parametrize(
    "words",
    [
        ["a=1", "--follow", "b=--x"],
        ["--follow", "--", "a=1", "b=--x"],
        ["a=1", "--follow", "--", "b=--x"],
    ],
)
def test_values_may_look_like_options(words):
    assert parsed("invoke", "echo", *words).parameters == ["a=1", "b=--x"]


def test_what_follows_two_dashes_is_no_option():
    found = parsed("invoke", "echo", "--", "--follow", "-1")
    assert (found.parameters, found.follow) == (["--follow", "-1"], False)


def test_a_dash_is_stdin_and_a_negative_number_a_word():
    assert parsed("run", "echo", "--process", "-").parameters == ["-"]
    assert parsed("run", "echo", "-1", "--process").parameters == ["-1"]


def test_a_schedule_takes_its_options_anywhere():
    words = ["--timezone", "Europe/Berlin", "id", "echo", "--paused", "rate(1 day)", "a=1"]
    for turn in range(2):
        found = parsed("schedule", "put", *(words if turn else [*words[2:], *words[:2]]))
        assert (found.id, found.job, found.expression) == ("id", "echo", "rate(1 day)")
        assert (found.timezone, found.paused) == ("Europe/Berlin", True)
        assert found.parameters == ["a=1"]


def test_an_unknown_option_is_refused(capsys):
    with pytest.raises(SystemExit) as left:
        parsed("invoke", "echo", "a=1", "--nonsense")
    assert left.value.code == 2
    assert "--nonsense" in capsys.readouterr().err


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as left:
        parsed("--version")
    assert left.value.code == 0
    assert capsys.readouterr().out == "usher 0.1.0\n"


@given(st.lists(st.from_regex(r"[a-z]{1,5}=.{0,5}", fullmatch=True), max_size=4), st.data())
def test_parameters_stay_in_their_order_wherever_options_stand(pairs, data):
    words = list(pairs)
    for option in (["--follow"], ["--priority", "low"], ["--at=+10m"]):
        at = data.draw(st.integers(0, len(words)))
        words[at:at] = [tuple(option)]
    flat = [w for word in words for w in (word if isinstance(word, tuple) else (word,))]
    found = parsed("invoke", "echo", *flat)
    assert found.parameters == pairs
    assert (found.follow, found.priority, found.at) == (True, "low", "+10m")


def test_a_word_too_many_is_named_alone(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["hosts", "x"])
    assert capsys.readouterr().err.endswith("usher hosts: error: unrecognized arguments: x\n")
