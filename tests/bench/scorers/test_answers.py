"""What a tokenizer makes of an answer, and the probability of the answer."""

import itertools

import numpy as np
import pytest

from diffatlas.bench.scorers.answers import (
    digit_tokens,
    per_token,
    probability,
    spellings,
    to_read,
    tokenized,
)
from tests.bench.scorers.small_models import tokenizer


@pytest.fixture(scope="module")
def bytes_and_words():
    return tokenizer()


def pieces(made, answer):
    return {
        one.text: made.convert_ids_to_tokens(list(one.tokens)) for one in tokenized(made, spellings(answer))
    }


def test_an_answer_is_written_with_a_capital_or_not_after_a_space_or_not_and_as_a_number():
    assert set(spellings("yes")) == {"yes", "Yes", " yes", " Yes"}
    assert set(spellings("Two")) == set(spellings("2")) == {"two", "Two", " two", " Two", "2", " 2"}
    assert set(spellings("twenty")) >= {"20", " 20"}
    assert set(spellings("21")) == {"21", " 21"}
    assert "Teddy bear" in spellings(" teddy  bear ")


def test_a_space_of_its_own_and_the_pieces_of_a_word_are_parts_of_a_spelling(bytes_and_words):
    found = pieces(bytes_and_words, "two")
    assert found["two"] == ["two"]
    assert found[" two"] == ["Ġtwo"]
    assert found["2"] == ["2"]
    assert found[" 2"] == ["Ġ", "2"]
    assert found["Two"] == ["T", "w", "o"]
    assert pieces(bytes_and_words, "no")["No"] == ["No"]


def test_spellings_of_the_same_tokens_count_once():
    # All capitals are small: two of the four spellings are left.
    assert pieces(tokenizer(lower=True), "yes") == {"yes": ["yes"], " yes": ["Ġyes"]}


def test_a_spelling_that_goes_on_from_another_is_in_its_probability_already(bytes_and_words):
    found = tokenized(bytes_and_words, ["no", "nox", "not", "yes"])
    assert [one.text for one in found] == ["no", "yes"]


def test_what_a_tokenizer_does_not_give_back_is_no_spelling():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<unk>": 0, "yes": 1}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
    assert [one.tokens for one in tokenized(made, spellings("yes"))] == [(1,)]
    assert tokenized(made, spellings("no")) == ()


def drawn(made, reads, seed=0):
    """A model whose next token depends on all that was read: the logarithms of its probabilities."""
    size = len(made)

    def after(read):
        random = np.random.default_rng([seed, *read])
        told = random.dirichlet(np.full(size, 0.05) + 1e-3)
        return np.log(told + 1e-12)

    return {read: np.stack([after(read[:k]) for k in range(len(read) + 1)]) for read in reads}, after


@pytest.mark.parametrize("answer", ["yes", "two", "1", "twelve", "car"])
def test_a_probability_is_the_sum_over_texts_that_begin_with_the_answer(bytes_and_words, answer):
    found = tokenized(bytes_and_words, spellings(answer))
    told, after = drawn(bytes_and_words, to_read(found), seed=len(answer))
    digits = {bytes_and_words.convert_tokens_to_ids(one) for one in "0123456789"}
    assert set(digit_tokens(bytes_and_words)) == digits
    whole = 0.0
    for text in spellings(answer):
        tokens = tuple(bytes_and_words.encode(text, add_special_tokens=False))
        share = np.prod([np.exp(after(tokens[:k])[token]) for k, token in enumerate(tokens)])
        if text[-1].isdecimal():
            # "1" of "12" is another answer.
            share *= 1 - np.exp(after(tokens)[sorted(digits)]).sum()
        whole += share
    assert probability(found, told, digit_tokens(bytes_and_words)) == pytest.approx(
        whole, rel=1e-9, abs=1e-15
    )


def test_as_little_is_read_as_will_do(bytes_and_words):
    for answer in ("yes", "two", "car", "12"):
        found = tokenized(bytes_and_words, spellings(answer))
        reads = to_read(found)
        for a, b in itertools.permutations(reads, 2):
            assert a != b[: len(a)]
        assert all(any(read[: len(one.read)] == one.read for read in reads) for one in found)
    # A word that is one token needs nothing but the prompt.
    assert to_read(tokenized(bytes_and_words, ["yes", "no", " Yes"])) == [()]


def test_a_mean_over_tokens_is_of_their_logarithms(bytes_and_words):
    (one,) = tokenized(bytes_and_words, ["Two"])
    told, after = drawn(bytes_and_words, to_read([one]))
    each = [np.exp(after(one.tokens[:k])[token]) for k, token in enumerate(one.tokens)]
    assert per_token(one, told) == pytest.approx(np.prod(each) ** (1 / 3))
