"""Tokens along the keys of cross-attention, against what the pipelines give their encoders and denoisers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diffatlas.attention.tokens import Token, find_word, read_table, word_spans, words
from diffatlas.capture.tokens import token_table
from diffatlas.errors import InvalidParams

PROMPT = "A red  circle, and a Red-ish square"


def seen(pipe: Any, **options: Any) -> tuple[int, dict[str, list[int]]]:
    """The number of text keys that the denoiser gets, and the ids that each text encoder gets."""
    from tests import pipelines

    ids: dict[str, list[int]] = {}
    lengths: list[int] = []
    denoiser = getattr(pipe, "unet", None) or pipe.transformer

    def on_text(name: str) -> Any:
        def hook(module: Any, args: tuple, kwargs: dict) -> None:
            given = args[0] if args else kwargs["input_ids"]
            ids.setdefault(name, given[0].tolist())

        return hook

    def on_denoiser(module: Any, args: tuple, kwargs: dict) -> None:
        lengths.append(kwargs["encoder_hidden_states"].shape[1])

    names = [
        n for n in ("text_encoder", "text_encoder_2", "text_encoder_3") if getattr(pipe, n, None) is not None
    ]
    hooks = [getattr(pipe, n).register_forward_pre_hook(on_text(n), with_kwargs=True) for n in names]
    hooks.append(denoiser.register_forward_pre_hook(on_denoiser, with_kwargs=True))
    try:
        asked = pipelines.arguments(pipe, steps=1, guided=False, prompts=(PROMPT,))
        pipe(**{**asked, "output_type": "latent", **options})
    finally:
        for hook in hooks:
            hook.remove()
    return lengths[0], ids


def check_part(part: list[Token], tokenizer: Any, ids: list[int]) -> None:
    """The part of the table is what the encoder was given: the same names, the same specials."""
    assert len(part) == len(ids)
    letters = "".join(t.text for t in part if not t.special)
    assert letters.casefold().startswith("a")
    names = tokenizer.convert_ids_to_tokens(ids)
    for token, name in zip(part, names, strict=True):
        clean = name.replace("</w>", "").replace("▁", "")
        if token.special:
            assert clean == token.text
        elif clean and clean != tokenizer.unk_token:
            assert clean.casefold() == token.text.casefold()


@pytest.mark.parametrize(
    "fixture", ["sd_pipe", "sdxl_pipe", "sd3_pipe", "flux_pipe", "pixart_pipe", "shapes_pipe"]
)
def test_a_table_is_what_the_denoiser_is_given(fixture, request):
    pipe = request.getfixturevalue(fixture)
    options = {"negative_prompt": ""} if fixture == "shapes_pipe" else {}
    length, ids = seen(pipe, **options)
    table = token_table(pipe, PROMPT, length)
    assert [t.index for t in table] == list(range(length))
    parts = {
        "sd3_pipe": [("text_encoder", "tokenizer"), ("text_encoder_3", "tokenizer_3")],
        "flux_pipe": [("text_encoder_2", "tokenizer_2")],
    }.get(fixture, [("text_encoder", "tokenizer")])
    start = 0
    for encoder, tokenizer in parts:
        count = len(ids[encoder])
        check_part(table[start : start + count], getattr(pipe, tokenizer), ids[encoder])
        start += count
    assert start == length
    assert all(t.text == PROMPT[slice(*word_spans(PROMPT)[t.word])][0] for t in table if t.word_text == "a")


def test_a_word_has_its_subtokens_of_both_encoders(sd3_pipe):
    table = token_table(sd3_pipe, PROMPT, 77 + 24)
    red = [table[i] for i in find_word(table, "red")]
    assert {t.encoder for t in red} == {"clip", "t5"}
    for encoder in ("clip", "t5"):
        spelled = "".join(dict.fromkeys(t.text for t in red if t.encoder == encoder))
        assert spelled == "red"
    assert min(t.index for t in red if t.encoder == "t5") >= 77


def test_default_lengths(sd_pipe, sdxl_pipe, sd3_pipe, flux_pipe, pixart_pipe):
    """Without a length, what the pipelines pad to by default: 77, 77 + 256, 512, 300."""
    pipes = (sd_pipe, sdxl_pipe, sd3_pipe, flux_pipe, pixart_pipe)
    assert [len(token_table(p, "a circle")) for p in pipes] == [77, 77, 333, 512, 300]


def test_every_word_of_the_grammar_is_one_token(shapes_pipe):
    prompt = "a red circle and a blue square"
    table = token_table(shapes_pipe, prompt)
    assert [t.word_text for t in table if t.word is not None] == prompt.split()
    assert find_word(table, "red") == [2]
    assert find_word(table, "a", 1) == [5]
    assert find_word(table, "blue square") == [6, 7]
    assert find_word(table, "Red Circle") == [2, 3]
    assert table[0].special
    assert table[8].special


def test_an_unknown_word_is_answered_with_the_words_that_there_are(shapes_pipe):
    table = token_table(shapes_pipe, "a red circle and a blue square")
    with pytest.raises(InvalidParams, match="a, red, circle, and, a, blue, square"):
        find_word(table, "green")
    with pytest.raises(InvalidParams, match="2 times"):
        find_word(table, "a", 2)
    with pytest.raises(InvalidParams, match="no word"):
        find_word(table, " , ")
    with pytest.raises(InvalidParams, match="not known: its text was not seen"):
        find_word([], "red")


def test_words_that_were_cut_off_have_no_tokens(shapes_pipe):
    prompt = "circle " * 30 + "star"
    table = token_table(shapes_pipe, prompt)
    assert len(table) == 24
    assert len([t for t in table if t.word is not None]) == 22
    with pytest.raises(InvalidParams, match="star"):
        find_word(table, "star")


def test_a_prompt_without_words_says_so(shapes_pipe):
    with pytest.raises(InvalidParams, match="has no words at all"):
        find_word(token_table(shapes_pipe, ""), "red")


def test_names_of_concepts_are_words_as_they_are():
    prompt = "a <toy>, <toy>s and * by x*"
    assert words(prompt) == ["a", "toy", "toy", "s", "and", "by", "x"]
    assert words(prompt, ["<toy>", "*"]) == ["a", "<toy>", "toy", "s", "and", "*", "by", "x"]
    assert words("a big-toy", ["toy", "big-toy", " "]) == ["a", "big-toy"]
    table = [Token(i, "clip", w, i, False, w) for i, w in enumerate(["a", "<toy>", "*"])]
    assert find_word(table, "<Toy>") == find_word(table, "toy") == [1]
    assert find_word(table, "*") == [2]
    assert find_word(table, "a <toy> *") == [0, 1, 2]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red circle", ["a", "red", "circle"]),
        ("  a,b;(c:1.2) ", ["a", "b", "c", "1.2"]),
        ("it's a close-up -- of “Rome”!", ["it's", "a", "close-up", "of", "Rome"]),
        ("été, ĀB\n4k $5 50%", ["été", "ĀB", "4k", "$5", "50%"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("... ,,", []),
        ("", []),
    ],
)
def test_words(prompt, expected):
    assert words(prompt) == expected


def test_a_tokenizer_without_offsets_is_aligned_by_spelling():
    class Slow:
        """Pieces of at most 3 letters, in WordPiece's spelling; id 0 pads."""

        is_fast = False
        model_max_length = 16
        all_special_ids = (0, 1)

        def __init__(self) -> None:
            self.names = ["[PAD]", "[CLS]"]

        def __call__(
            self, text: str, padding: str, max_length: int, truncation: bool
        ) -> dict[str, list[int]]:
            ids = [1]
            for word in text.lower().replace(",", " , ").split():
                for i in range(0, len(word), 3):
                    self.names.append(("##" if i else "") + word[i : i + 3])
                    ids.append(len(self.names) - 1)
            return {"input_ids": (ids + [0] * max_length)[:max_length]}

        def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
            return [self.names[i] for i in ids]

    encoder = SimpleNamespace(config=SimpleNamespace(model_type="bert"))
    pipe = SimpleNamespace(tokenizer=Slow(), text_encoder=encoder)
    table = token_table(pipe, "A circle, a circle")
    assert [t.word_text for t in table[:9]] == [
        None,
        "A",
        "circle",
        "circle",
        None,
        "a",
        "circle",
        "circle",
        None,
    ]
    assert find_word(table, "circle", 1) == [6, 7]
    assert [t.text for t in table[1:4]] == ["A", "cir", "cle"]


def test_a_prompt_in_a_chat_is_not_guessed_at(qwen_pipe):
    """Positions of a text that is not known are there, special and without words."""
    table = token_table(qwen_pipe, PROMPT, 6)
    assert [(t.index, t.text, t.special) for t in table] == [(i, "", True) for i in range(6)]
    assert token_table(qwen_pipe, PROMPT) == []


def test_a_template_that_the_pipeline_tells_is_cut_off(sd_pipe):
    """As Qwen-Image does: the prompt in a template, whose first tokens are dropped from the keys."""
    encoder = SimpleNamespace(config=SimpleNamespace(model_type="qwen2_5_vl"))
    pipe = SimpleNamespace(
        tokenizer=sd_pipe.tokenizer,
        text_encoder=encoder,
        prompt_template_encode="ab c {} d",
        prompt_template_encode_start_idx=4,  # the beginning and the letters before the prompt
    )
    table = token_table(pipe, "a red", 8)
    assert [(t.index, t.text, t.word_text) for t in table[:4]] == [
        (0, "a", "a"),
        (1, "r", "red"),
        (2, "e", "red"),
        (3, "d", "red"),
    ]
    assert all(t.special and t.word is None for t in table[4:])
    assert len(table) == 8


def test_an_encoder_that_is_left_out_has_empty_positions(sd3_pipe):
    import copy

    without = copy.copy(sd3_pipe)
    without.text_encoder_3 = None
    table = token_table(without, "a circle", 77 + 16)
    assert all(t.special and t.text == "" for t in table[77:])
    assert {t.encoder for i in find_word(table, "circle") for t in [table[i]]} == {"clip"}


def test_a_table_survives_json(shapes_pipe):
    import json

    table = token_table(shapes_pipe, "a red circle")
    stored = json.loads(json.dumps([t.to_dict() for t in table]))
    assert list(read_table(stored)) == table
    assert read_table(table) == tuple(table)


def test_offsets_survive_other_scripts(sd_pipe):
    """Letters that CLIP spells in several bytes share their place in the prompt."""
    prompt = "ein schöner 红色 circle 🎈 red"
    table = token_table(sd_pipe, prompt)
    red = find_word(table, "red")
    assert "".join(table[i].text for i in red) == "red"
    assert np.all(np.diff([t.word for t in table if t.word is not None]) >= 0)
