"""How positions are found again, how ids are read, and how several texts are laid out, on small known cases."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from diffatlas.attention.tokens import Token
from diffatlas.capture.text_inputs import TextInput, laid_out, samples, text_inputs
from diffatlas.capture.text_match import prints_of, same, sources
from diffatlas.capture.text_rows import Tokenised, tokenised, tokens_of


def states(width: int, seed: int, rows: int = 2, length: int = 6) -> torch.Tensor:
    return torch.randn(rows, length, width, generator=torch.Generator().manual_seed(seed))


def test_features_side_by_side_and_behind_each_other():
    """As SD3 joins them: two encoders side by side, filled up with zeros, and a third one behind."""
    one, two, three = states(16, 1), states(24, 2), states(64, 3)
    events = [prints_of([s]) for s in (one, two, three)]
    both = torch.nn.functional.pad(torch.cat([one, two], -1), (0, 24))
    joined = torch.cat([both, three], 1)
    assert sources(joined[1], events) == [(0, 1, i) for i in range(6)] + [(2, 1, i) for i in range(6)]
    # Where the first is not known the second tells.
    other = prints_of([states(16, 9)])
    assert sources(joined[0], [other, *events[1:]])[:6] == [(1, 0, i) for i in range(6)]


def test_the_newest_of_equal_ones_and_as_few_rows_as_can_be():
    one, two = states(16, 1), states(16, 2)
    two[0, :3] = one[0, :3]
    events = [prints_of([s]) for s in (one, two, one)]
    assert sources(one[0], events) == [(2, 0, i) for i in range(6)]
    assert sources(two[0], events) == [(1, 0, i) for i in range(6)]
    assert sources(torch.cat([two[0], one[1]]), events) == [(1, 0, i) for i in range(6)] + [
        (2, 1, i) for i in range(6)
    ]


def test_positions_that_are_alike_are_in_their_order():
    one = states(16, 1, rows=1)
    one[0, 4] = one[0, 1]
    events = [prints_of([one])]
    assert sources(one[0], events) == [(0, 0, i) for i in range(6)]
    assert [s[2] for s in sources(one[0, 3:], events)] == [3, 4, 5]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("given", [torch.float16, torch.bfloat16, torch.float32])
def test_casts_are_followed(given, dtype):
    one = states(16, 1).to(given)
    assert sources(one[0].to(dtype), [prints_of([one])]) == [(0, 0, i) for i in range(6)]


def test_what_holds_nothing_or_no_numbers_is_not_found():
    one = states(16, 1)
    one[0, 2], one[0, 3] = 0, torch.nan
    assert sources(one[0], [prints_of([one])]) == [(0, 0, 0), (0, 0, 1), None, None, (0, 0, 4), (0, 0, 5)]
    assert sources(one[0, :0], [prints_of([one])]) == []
    assert sources(states(8, 1)[0], [prints_of([one])]) == [None] * 6
    assert same(*prints_of([one[1:], one[1:].clone()]))
    assert not same(*prints_of([one[1:], one[:1]]))


class Letters:
    """A slow tokenizer: one token a letter, in capitals; 0 pads, 1 ends, 2 is unknown."""

    all_special_ids = (0, 1)

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return ["[PAD]" if i == 0 else "[END]" if i == 1 else chr(i) for i in ids]

    def decode(self, ids: list[int]) -> str:
        return "".join(chr(i) for i in ids)


LETTERS = Letters()


def row_of(text: str, length: int = 0) -> list[int]:
    ids = [*(ord(c) for c in text if c != " "), 1]
    return ids + [0] * (length - len(ids))


def read(
    text: str, asked: tuple = (), others: tuple = (), ids: list[int] | None = None
) -> list[tuple[str, Any]]:
    """(text, word) of each token of a text, where it has a word."""
    one = Tokenised(LETTERS, tuple(row_of(text)), text, asked)
    row = tokens_of(ids or row_of(text), [*others, one], LETTERS, "t", [*others, one])
    return [(t.text, t.word_text) for t in row.tokens if t.word is not None]


def test_the_prompt_is_found_in_what_the_tokenizer_was_given():
    plain = [(c, w) for w in ("Ab", "C") for c in w]
    assert read("Ab C") == plain
    assert read("ab c", (("Ab C",),)) == plain  # written in lower case
    assert read("xx Ab C xx", ((" Ab C ",),)) == plain  # without the blanks, in a template
    assert read("Ab C: of Ab C", (("Ab C",),)) == plain  # a template begins with the same words
    assert read("a big Ab C", (("a",), ("Ab C",)))[0] == ("a", "a")  # what was asked of the outermost call
    assert [w for _, w in read("abc d", (("b",),))] == ["abc"] * 3 + ["d"]  # within a word is no place of it
    assert [w for _, w in read("zz y", (("Ab C",),))] == ["zz", "zz", "y"]  # none: the words are its own


def test_an_empty_prompt_in_a_template_has_no_words():
    other = Tokenised(LETTERS, tuple(row_of("say: Ab C. so")), "say: Ab C. so", (("Ab C",),))
    assert read("say: . so", (("",),), (other,)) == []
    assert read("say: q r. so", (("",),), (other,)) == [("q", "q"), ("r", "r")]
    assert read("q r", (("",),), (other,)) == [("q", "q"), ("r", "r")]


def test_rows_that_were_cut_filled_or_taken_apart():
    whole = row_of("Ab C de")
    for ids in ([*whole[:3], 1], whole[1:], [1, *whole[2:4], 1], [*whole, 0, 0]):
        expected = [chr(i) for i in ids if i > 1]
        assert [t for t, _ in read("Ab C de", ids=ids)] == expected
    assert [w for _, w in read("Ab C de", ids=[1, *whole[1:4], 1])] == ["Ab", "C", "de"]
    strange = tokens_of(row_of("no"), [Tokenised(LETTERS, (5, 6), "x")], LETTERS, "t")
    assert [t.word_text for t in strange.tokens] == ["no", "no", None]
    pieces = [Tokenised(LETTERS, tuple(row_of(text)), text) for text in ("xy", "zzz")]
    joined = tokens_of([1, *row_of("xyzzz")], pieces, LETTERS, "t")
    assert [t.text for t in joined.tokens if t.word is not None] == list("xyzzz")
    nothing = tokens_of([7, 8], [], None, "t")
    assert [(t.text, t.special) for t in nothing.tokens] == [("", True)] * 2


def test_calls_of_tokenizers_in_all_their_forms(sd_pipe):
    tokenizer = sd_pipe.tokenizer

    def rows(*args: Any, **kwargs: Any) -> list[Tokenised]:
        return tokenised(tokenizer, args, kwargs, tokenizer(*args, **kwargs), ())

    (one,) = rows("a red hat")
    assert one.text == "a red hat"
    assert list(one.ids) == tokenizer("a red hat").input_ids
    assert [r.text for r in rows(["a hat", "red"], padding="longest", return_tensors="pt")] == [
        "a hat",
        "red",
    ]
    assert [r.text for r in rows(text=["a hat"], padding="max_length", max_length=20)] == ["a hat"]
    long = rows("abc def ghi", truncation=True, max_length=5, return_overflowing_tokens=True)
    assert len(long) > 1
    assert {r.text for r in long} == {"abc def ghi"}
    assert rows("a", "b")[0].text is None  # two texts in one row
    assert rows(["a", "b"], is_split_into_words=True) == []
    encoded = tokenizer.encode("a hat")
    assert tokenised(tokenizer, ("a hat",), {}, encoded, ())[0].ids == tuple(encoded)
    assert tokenised(tokenizer, (5,), {}, None, ()) == []


def test_a_fast_tokenizers_own_places_are_taken(sd_pipe):
    tokenizer = sd_pipe.tokenizer
    text = "ein schöner 红色 hat"
    out = tokenizer(text, padding="max_length", max_length=40)
    row = tokens_of(out.input_ids, tokenised(tokenizer, (text,), {}, out, ()), tokenizer, "clip")
    words = [t.word_text for t in row.tokens if t.word is not None]
    assert list(dict.fromkeys(words)) == ["ein", "schöner", "红色", "hat"]
    assert row.words == ("ein", "schöner", "红色", "hat")
    for token, (start, end) in zip(row.tokens, out.encodings[0].offsets, strict=True):
        assert token.special or token.text == text[start:end].strip()


def part(name: str, letters: str) -> TextInput:
    return TextInput(name, [None if c == "-" else Token(0, "t", c, None, False) for c in letters])


def laid(parts: list[TextInput], length: int, masks: dict[str, Any] | None = None, module: Any = None) -> str:
    return "".join(t.text or "-" for t in laid_out(parts, length, masks or {}, 0, module))


def test_texts_along_the_keys():
    ab, cd = part("encoder_hidden_states", "ab"), part("encoder_hidden_states_t5", "cd-")
    assert laid([ab], 2) == "ab"
    assert laid([ab], 4) == "ab--"
    assert laid([ab, cd], 5) == "abcd-"
    assert laid([ab, part("encoder_hidden_states_t5", "---")], 5) == "ab---"
    assert laid([ab, part("encoder_hidden_states_image", "---")], 2) == "ab"
    assert laid([ab, cd], 8) == "abcd-cd-"  # the last one twice
    assert laid([ab, cd], 2) == "ab"
    assert laid([ab, cd], 4) == "----"  # which of them it is cannot be told
    assert laid([part("encoder_hidden_states", "--")], 2) == "--"
    mask = torch.tensor([[1, 0, 1]])
    assert laid([part("encoder_hidden_states", "abc")], 2, {"encoder_attention_mask": mask}) == "ac"
    assert laid([part("encoder_hidden_states", "abc")], 2) == "--"


def test_hunyuan_image_takes_what_is_masked_last():
    module = type("HunyuanImageTransformer2DModel", (), {})()
    parts = [part("encoder_hidden_states", "abc"), part("encoder_hidden_states_2", "xy")]
    masks = {
        "encoder_attention_mask": torch.tensor([[1, 1, 0]]),
        "encoder_attention_mask_2": torch.tensor([[1, 0]]),
    }
    assert laid(parts, 5, masks, module) == "xabyc"
    assert laid(parts, 5, {}, module) == "-----"


def test_arguments_that_may_be_texts():
    def forward(
        x: Any, t: Any, cap_feats: Any = None, txt_ids: Any = None, encoder_attention_mask: Any = None
    ) -> None:
        pass

    module = SimpleNamespace(forward=forward)
    feats = [torch.zeros(3, 8), torch.zeros(5, 8)]
    given = {"txt_ids": torch.zeros(1, 3, 3), "encoder_attention_mask": torch.ones(2, 3)}
    found = dict(text_inputs(module, (torch.zeros(2, 4, 8), 0, feats), given))
    assert list(found) == ["cap_feats", "txt_ids"]
    assert [tuple(s.shape) for s in samples(feats, 1)] == [(5, 8)]
    assert list(samples(feats, 2)) == []
    assert [tuple(s.shape) for s in samples([[feats[0], feats[1]]], 0)] == [(8, 8)]
    layers = torch.zeros(7, 2, 3, 8)  # by layer
    assert (3, 8) in [tuple(s.shape) for s in samples(layers, 1)]
    assert [tuple(s.shape) for s in samples(list(layers), 1)] == [(3, 8)]
    assert [tuple(s.shape) for s in samples(torch.zeros(1, 3, 8), 4)] == [(3, 8)]
