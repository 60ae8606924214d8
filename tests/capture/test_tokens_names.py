"""What reads tables of tokens is found where scripts have had it, beside what makes them."""

import pytest

from diffatlas.attention import tokens as own
from diffatlas.capture import tokens


@pytest.mark.parametrize("name", ["Token", "find_word", "find_words", "read_table", "words"])
def test_it_is_the_same(name: str) -> None:
    assert getattr(tokens, name) is getattr(own, name)
