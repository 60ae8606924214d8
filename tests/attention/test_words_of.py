"""Words of a token table."""

from diffatlas.attention.tokens import Token
from diffatlas.attention.words import Word, prompt_words, words_of


def test_pieces_and_encoders_make_one_word_and_equal_specials_in_a_row_one():
    table = [
        Token(0, "clip", "<|start|>", None, True),
        Token(1, "clip", "cir", 0, False, "circle"),
        Token(2, "clip", "cle", 0, False, "circle"),
        Token(3, "clip", ",", None, False),
        Token(4, "clip", "<|end|>", None, True),
        Token(5, "clip", "<|end|>", None, True),
        Token(6, "t5", "circle", 0, False, "circle"),
        Token(7, "t5", "<|end|>", None, True),
        Token(8, "t5", "", None, True),
    ]
    assert words_of(table) == [
        Word("start", (0,), "special"),
        Word("circle", (1, 2, 6), "word"),
        Word(",", (3,), "mark"),
        Word("end × 2", (4, 5), "special"),
        Word("end", (7,), "special"),
        Word("no text", (8,), "special"),
    ]
    assert [word.text for word in prompt_words(table)] == ["circle", ","]


def test_equal_words_stay_apart_and_a_word_between_specials_parts_them():
    table = [
        Token(0, "clip", "<end>", None, True),
        Token(1, "clip", "a", 0, False, "a"),
        Token(2, "clip", "a", 1, False, "a"),
        Token(3, "clip", "<end>", None, True),
    ]
    assert [word.tokens for word in words_of(table)] == [(0,), (1,), (2,), (3,)]


def test_of_a_prompt_that_is_not_known_there_are_its_positions():
    table = [Token(k, "", "", None, True) for k in range(3)]
    assert prompt_words(table) == [Word("no text × 3", (0, 1, 2), "special")]
