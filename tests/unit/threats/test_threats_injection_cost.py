"""Judging is linear in the text: counted in what the readers read, as time would depend on the machine."""

import pytest

from seawall.systems.threats.detectors import sql_grammar, sql_lexer


@pytest.mark.parametrize(
    "piece", ["(count(", "' or ", "select ", "a.", "case when ", "-- \n", "   ", "\u200b", "+", "$$", "/*", "1e"]
)
def test_tokens_read_do_not_grow_past_the_cap(piece):
    text = piece * (200_000 // len(piece))
    assert len(sql_lexer.read(text).kinds) <= sql_lexer.TOKENS_CAP


def test_an_expression_is_followed_for_a_bounded_number_of_tokens():
    tokens = sql_lexer.read("1+" * 700)
    course = sql_grammar.follow(tokens, 0)
    assert course.end <= 160
    assert course.by == ""


def test_white_space_at_the_end_is_no_token():
    assert sql_lexer.read("1 or 1=1" + " " * 50_000).kinds == "n&n=n"
