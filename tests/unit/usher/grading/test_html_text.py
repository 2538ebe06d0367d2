"""The text of an author's HTML: no markup, no errors, and no input that takes for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.grading.html_text import plain_text

LARGEST = 1024 * 1024
PIECES = (
    "<", "<!", "<!--", "</", "<a ", "<a/", "<a b='", '<a b="', "&", "&#", "&#x", "&amp", "<![",
    "<![CDATA[", "<?", "<script>", "<SCRIPT", "</script", "<style></", "<textarea>", "<p", "<br>",
    "-->", ">", "'", '"', "\0", "\u212a", "text ",
)  # fmt: skip


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<p>Well</p><div>done &amp; dusted</div><br/>twice", "Well\ndone & dusted\ntwice"),
        ("<script>alert(1)</script >a<STYLE>b{}</Style>b", "ab"),
        ("1 < 2 && 3 > 2", "1 < 2 && 3 > 2"),
        ("a<!-- <b> -->b<!doctype html>c<?php x?>d", "abcd"),
        ("shown<script>never closed", "shown"),
        ("shown<!-- never closed <p>", "shown"),
        ("shown<a href='never closed", "shown"),
        ("<![<![", ""),
        ("İ<script>x</script>after", "İafter"),
        ("&#" + "9" * 5000 + ";", "&#" + "9" * 5000 + ";"),
        ("&lt;b&gt; &#65;", "<b> A"),
    ],
)
def test_text(source, text):
    assert plain_text(source) == text


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_pieces_of_markup_in_any_order_are_read(source):
    assert "<script>" not in plain_text(source)


@pytest.mark.parametrize("piece", PIECES)
def test_as_much_as_a_result_may_have_is_read(piece):
    plain_text(piece * (LARGEST // len(piece)))
