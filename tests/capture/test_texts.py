"""The words of a denoiser's text keys, against the hidden states that the text encoders really gave.

The truth is found by brute force: every hidden state of every encoder call, from hooks of the test's own, is compared
whole with every position that the denoiser was given.
"""

from __future__ import annotations

import copy
import gc
import json
import threading
import weakref
from typing import Any

import numpy as np
import pytest
import torch

from diffatlas.attention.tokens import Token, find_word, words
from diffatlas.capture.texts import TextRecorder, describe_texts
from diffatlas.capture.watching import is_watched
from diffatlas.errors import InvalidParams
from tests.capture.seen_texts import ENCODERS, asked, looking_on, said


@pytest.fixture
def fresh_sd() -> Any:
    """A pipeline of its own, whose vocabulary a test may add to."""
    from tests import pipelines

    return pipelines.build_sd()


@pytest.mark.parametrize(
    ("fixture", "options"),
    [
        ("sd_pipe", {"negative_prompt": "Ugly cat"}),
        ("sdxl_pipe", {"prompt_2": "some dog", "negative_prompt": "ugly", "negative_prompt_2": "bad"}),
        ("sd3_pipe", {"prompt_2": "some dog", "prompt_3": "green hats", "negative_prompt_3": "bad"}),
        ("flux_pipe", {"prompt_2": "green hats", "guided": False}),
        ("pixart_pipe", {"negative_prompt": "Ugly cat"}),
        ("shapes_pipe", {"negative_prompt": "a blue star"}),
    ],
)
def test_every_position_has_the_token_that_the_encoder_was_given(fixture, options, request):
    pipe = request.getfixturevalue(fixture)
    prompts = ["a red circle", "a star"] if fixture != "flux_pipe" else ["a red circle"]
    options = {k: [v] * len(prompts) if k.startswith(("prompt_", "neg")) else v for k, v in options.items()}
    with looking_on(pipe) as seen:
        pipe(**asked(pipe, prompts, **options))
    tokenizers = {name: getattr(pipe, name.replace("text_encoder", "tokenizer"), None) for name in ENCODERS}
    for row in range(len(seen.calls[0][2]["encoder_hidden_states"])):
        table, truth = seen.table(row), seen.truth(row)
        assert [t.index for t in table] == list(range(len(truth)))
        for token, there in zip(table, truth, strict=True):
            names = {tokenizers[name].convert_ids_to_tokens(number) for name, number in there}
            assert names == ({token.raw} if token.raw is not None else set())


def test_each_image_has_its_own_words_and_each_half_its_own(sd_pipe):
    with looking_on(sd_pipe) as seen:
        sd_pipe(**asked(sd_pipe, ["a red cat", "a dog"], negative_prompt="bad hat", num_images_per_prompt=2))
    tables = seen.tables(list(range(8)))
    assert [said(table) for table in tables] == [["bad", "hat"]] * 4 + [["a", "red", "cat"]] * 2 + [
        ["a", "dog"]
    ] * 2


def test_flux_has_the_words_of_its_second_prompt(flux_pipe):
    with looking_on(flux_pipe) as seen:
        flux_pipe(**asked(flux_pipe, "cat", prompt_2="a big dog", guided=False))
    table = seen.table(0)
    assert said(table) == ["a", "big", "dog"]
    with pytest.raises(InvalidParams, match="a, big, dog"):
        find_word(table, "cat")


def test_encoders_with_other_words_do_not_share_their_numbers(sd3_pipe):
    with looking_on(sd3_pipe) as seen:
        sd3_pipe(**asked(sd3_pipe, "a cat", prompt_3="a big dog"))
        sd3_pipe(**asked(sd3_pipe, "a cat"))
    table = seen.table(1)
    assert {table[i].encoder for i in find_word(table, "cat")} == {"clip"}
    assert {table[i].encoder for i in find_word(table, "big dog")} == {"t5"}
    alike = seen.table(1, call=1)
    assert {alike[i].encoder for i in find_word(alike, "cat")} == {"clip", "t5"}


def test_a_concept_of_several_vectors_is_one_word(fresh_sd):
    pipe = fresh_sd
    for name in ("<toy>", "$%*"):
        pipe.load_textual_inversion(
            torch.randn(3, 32, generator=torch.Generator().manual_seed(5)), token=name
        )
    with looking_on(pipe) as seen:
        pipe(**asked(pipe, "a <toy>, on red", negative_prompt="a $%* <toy>"))
    ids = next(ids for _, ids, _ in seen.encoded if ids.shape[0] == 1)
    given = pipe.tokenizer.convert_ids_to_tokens(ids[0].tolist())
    table = seen.table(1)
    assert said(table) == ["a", "<toy>", "on", "red"]
    toy = given.index("<toy>")
    assert given[toy : toy + 3] == ["<toy>", "<toy>_1", "<toy>_2"]
    for name in ("<toy>", "toy", "<TOY>"):
        assert find_word(table, name) == [toy, toy + 1, toy + 2]
    assert find_word(table, "<toy> on")[:3] == [toy, toy + 1, toy + 2]
    assert [given[i].removesuffix("</w>") for i in find_word(table, "red")] == ["r", "e", "d"]
    other = seen.table(0)
    assert said(other) == ["a", "$%*", "<toy>"]
    assert len(find_word(other, "$%*")) == 3


@pytest.mark.parametrize("skip", [None, 1])
def test_layers_that_are_skipped_are_of_the_same_words(sdxl_pipe, fresh_sd, skip):
    with looking_on(sdxl_pipe) as seen:
        sdxl_pipe(**asked(sdxl_pipe, "a red cat", clip_skip=skip, guided=False))
    assert said(seen.table(0)) == ["a", "red", "cat"]


def test_a_norm_that_the_pipeline_applies_is_followed(sdxl_pipe, fresh_sd):
    """The pipelines norm an earlier layer by the encoder's last norm, outside of its call (``clip_skip``)."""
    pipe = fresh_sd
    pipe.text_encoder = copy.deepcopy(
        sdxl_pipe.text_encoder_2
    )  # the kind that has the norm where SD looks for it
    hooks = [len(module._forward_hooks) for module in pipe.text_encoder.modules()]
    with looking_on(pipe) as seen:
        pipe(**asked(pipe, "a red cat", clip_skip=1, guided=False))
    assert said(seen.table(0)) == ["a", "red", "cat"]
    assert seen.truth(0)[1] == set()  # it is none of the hidden states as they were
    assert hooks == [len(module._forward_hooks) for module in pipe.text_encoder.modules()]


def test_what_is_encoded_by_hand_keeps_its_own_words(sd_pipe):
    """The negative prompt first, another prompt in between, and none of them in the call's arguments."""
    with looking_on(sd_pipe) as seen:
        bad, _ = sd_pipe.encode_prompt("bad hat", "cpu", 1, False)
        sd_pipe.encode_prompt("green apples", "cpu", 1, False)
        good, _ = sd_pipe.encode_prompt("good hat", "cpu", 1, False)
        sd_pipe(**asked(sd_pipe, prompt_embeds=good, negative_prompt_embeds=bad))
    assert [said(table) for table in seen.tables([0, 1])] == [["bad", "hat"], ["good", "hat"]]
    with looking_on(sd_pipe) as outside:
        sd_pipe(**asked(sd_pipe, prompt_embeds=good, negative_prompt_embeds=bad))
    assert outside.tables([0, 1]) is None


def test_without_guidance_there_is_one_row(sd_pipe):
    with looking_on(sd_pipe) as seen:
        sd_pipe(**asked(sd_pipe, "a red cat", guided=False))
    assert len(seen.calls[0][2]["encoder_hidden_states"]) == 1
    assert said(seen.table(0)) == ["a", "red", "cat"]


def test_a_long_prompt_has_the_words_that_were_left(sd_pipe, caplog):
    prompt = "a red cat " * 20 + "zebra"
    with looking_on(sd_pipe) as seen:
        sd_pipe(**asked(sd_pipe, prompt))
    table = seen.table(1)
    left = said(table)
    assert left == words(prompt)[: len(left)]
    assert 20 < len(left) < len(words(prompt))
    with pytest.raises(InvalidParams, match="zebra"):
        find_word(table, "zebra")


def by_hand(pipe: Any, prompt: str) -> torch.Tensor:
    ids = pipe.tokenizer(prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    with torch.no_grad():
        return pipe.text_encoder(ids.input_ids)[0]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda x: x[:, 3:20], id="cut"),
        pytest.param(lambda x: x.flip(1), id="reversed"),
        pytest.param(lambda x: x[:, [0, 1, 5, 5, 2]], id="chosen"),
        pytest.param(lambda x: x.half().float(), id="half and back"),
        pytest.param(lambda x: x.bfloat16().float(), id="bfloat16 and back"),
        pytest.param(lambda x: torch.cat([x, x[:, :9] * 0], 1), id="zeros behind"),
    ],
)
def test_positions_are_found_wherever_a_pipeline_puts_them(sd_pipe, change):
    prompt = "some red hat"
    with looking_on(sd_pipe) as seen:
        plain = by_hand(sd_pipe, prompt)
        given = change(plain)
        sd_pipe(**asked(sd_pipe, prompt_embeds=given, guided=False))
    places = change(torch.arange(77.0)[None, :, None] + 1)[0, :, 0].round().int() - 1
    ids = seen.encoded[0][1][0]
    expected = [sd_pipe.tokenizer.convert_ids_to_tokens(int(ids[p])) if p >= 0 else None for p in places]
    assert [t.raw for t in seen.table(0)] == expected


def test_what_was_changed_in_itself_has_no_words(sd_pipe):
    with looking_on(sd_pipe) as seen:
        weighted = by_hand(sd_pipe, "a red hat")
        weighted[:, 2:5] *= 1.1
        sd_pipe(**asked(sd_pipe, prompt_embeds=weighted.clone(), guided=False))
    table = seen.table(0)
    assert [t.text for t in table[2:5]] == ["", "", ""]
    assert all(t.special and t.word is None for t in table[2:5])
    assert said(table) == ["a", "hat"]


def test_prompts_that_begin_alike_are_not_mixed(sd_pipe):
    """A causal encoder gives the same for the same beginning: words are numbered as in the prompt given."""
    with looking_on(sd_pipe) as seen:
        given = by_hand(sd_pipe, "a red hat")
        for other in ("a red hatter", "a", "a red"):
            by_hand(sd_pipe, other)
        sd_pipe(**asked(sd_pipe, prompt_embeds=given, guided=False))
    assert said(seen.table(0)) == ["a", "red", "hat"]
    assert [t.word for t in seen.table(0) if t.word is not None] == [0, 1, 1, 1, 2, 2, 2]


def test_a_long_prompt_in_pieces_is_one_text(sd_pipe):
    """As tools for long prompts do it: the ids in pieces, each with a beginning and an end, encoded side by side."""
    prompt = " ".join(f"{i}x{'abcdefghij'[i % 10]}" for i in range(10, 37))
    with looking_on(sd_pipe) as seen:
        ids = sd_pipe.tokenizer(prompt, truncation=False).input_ids
        first, *middle, last = ids
        pieces = [middle[:50], middle[50:]]
        rows = torch.tensor([[first, *piece, *[last] * (76 - len(piece))] for piece in pieces])
        with torch.no_grad():
            states = sd_pipe.text_encoder(rows)[0]
        sd_pipe(**asked(sd_pipe, prompt_embeds=states.reshape(1, 154, -1), guided=False))
    table = seen.table(0)
    assert said(table) == words(prompt)
    assert find_word(table, "36xg")[0] > 77


def test_ids_that_no_tokenizer_was_seen_to_make_are_spelled(sd_pipe):
    ids = sd_pipe.tokenizer("a red hat", padding="max_length", max_length=77, return_tensors="pt").input_ids
    with looking_on(sd_pipe) as seen:
        with torch.no_grad():
            states = sd_pipe.text_encoder(ids)[0]
        sd_pipe(**asked(sd_pipe, prompt_embeds=states, guided=False))
    assert said(seen.table(0)) == ["a", "red", "hat"]


def test_nothing_is_changed_and_nothing_is_left_behind(fresh_sd):
    pipe = fresh_sd
    given = asked(pipe, "a red cat", output_type="np")
    plain = pipe(**{**given, "generator": torch.Generator().manual_seed(3)}).images
    state = (pipe.tokenizer.backend_tokenizer.padding, pipe.tokenizer.backend_tokenizer.truncation)
    hooks = [len(module._forward_hooks) for module in pipe.text_encoder.modules()]
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    with looking_on(pipe) as seen:
        same = pipe(**{**given, "generator": torch.Generator().manual_seed(3)}).images
        assert is_watched(type(pipe.tokenizer), "__call__")
    assert said(seen.table(1)) == ["a", "red", "cat"]
    assert np.array_equal(plain, same)
    assert torch.equal(before, torch.random.get_rng_state())
    assert state == (pipe.tokenizer.backend_tokenizer.padding, pipe.tokenizer.backend_tokenizer.truncation)
    for part, name in (
        (pipe, "__call__"),
        (pipe, "encode_prompt"),
        (pipe.tokenizer, "__call__"),
        (pipe.tokenizer, "encode"),
        (pipe.text_encoder, "__call__"),
    ):
        assert not is_watched(type(part), name)
    assert hooks == [len(module._forward_hooks) for module in pipe.text_encoder.modules()]


def test_errors_of_the_pipeline_are_its_own(sd_pipe):
    with looking_on(sd_pipe) as seen:
        with pytest.raises(ValueError, match="has to be of type"):
            sd_pipe(5)
        with pytest.raises(ValueError, match="text input"):
            sd_pipe.tokenizer(5)
        sd_pipe(**asked(sd_pipe, "a red cat"))
    assert said(seen.table(1)) == ["a", "red", "cat"]


def test_another_pipeline_of_the_same_kind_is_not_listened_to(sd_pipe, fresh_sd):
    with looking_on(sd_pipe) as seen:
        states = by_hand(fresh_sd, "a red hat")
        sd_pipe(**asked(sd_pipe, prompt_embeds=states, guided=False))
    assert seen.tables([0]) is None


def test_another_thread_may_do_the_encoding(sd_pipe):
    found: list[torch.Tensor] = []
    with looking_on(sd_pipe) as seen:
        worker = threading.Thread(target=lambda: found.append(by_hand(sd_pipe, "a red hat")))
        worker.start()
        worker.join()
        sd_pipe(**asked(sd_pipe, prompt_embeds=found[0], guided=False))
    assert said(seen.table(0)) == ["a", "red", "hat"]


def test_an_encoder_that_is_exchanged_meanwhile_is_seen(fresh_sd):
    pipe = fresh_sd
    with looking_on(pipe) as seen:
        pipe.text_encoder = copy.deepcopy(pipe.text_encoder)
        with torch.no_grad():
            pipe.text_encoder.get_input_embeddings().weight.mul_(1.5)
        pipe(**asked(pipe, "a red cat", guided=False))
    assert said(seen.table(0)) == ["a", "red", "cat"]


def test_an_encoder_that_is_given_up_is_free_to_go(fresh_sd):
    """As where its memory is needed for the denoiser: its words stay known."""
    pipe = fresh_sd
    gone = weakref.ref(pipe.text_encoder)
    seen = TextRecorder(pipe)
    calls: list[tuple] = []
    hook = pipe.unet.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append((module, args, kwargs)), with_kwargs=True
    )
    with seen.watching():
        embeds, _ = pipe.encode_prompt("a red cat", "cpu", 1, False)
        pipe.text_encoder = None
        gc.collect()
        assert gone() is None
        pipe(**asked(pipe, prompt_embeds=embeds, guided=False))
    hook.remove()
    assert said(seen.tables(*calls[0], [0], 77)[0]) == ["a", "red", "cat"]


def test_tables_never_raise(sd_pipe, caplog):
    with looking_on(sd_pipe) as seen:
        sd_pipe(**asked(sd_pipe, "a red cat"))
    module, args, kwargs = seen.calls[0]
    assert seen.recorder.tables(module, args, {}, [0], 77) is None
    assert seen.recorder.tables(module, args, kwargs, [9], 77) is None
    assert seen.recorder.tables(object(), (), {"encoder_hidden_states": "?"}, [0], 77) is None
    assert seen.recorder.tables(module, args, kwargs, [1], 50) is None  # nothing says which are left out
    longer = seen.recorder.tables(module, args, kwargs, [1], 81)  # an image prompt's keys behind the text's
    assert said(longer[0]) == ["a", "red", "cat"]
    assert [t.text for t in longer[0][77:]] == [""] * 4


def test_texts_are_described_by_image_and_half():
    def table(word: str) -> list[Token]:
        return [Token(0, "clip", word, 0, False, word), Token(1, "clip", "", None, True)]

    cat, dog = table("cat"), table("dog")
    spell = [[t.to_dict() for t in made] for made in (cat, dog)]
    assert describe_texts([cat, cat]) == {"text": spell[0], "negative_text": []}
    assert describe_texts([cat, dog], [dog, dog]) == {
        "text": spell[0],
        "texts": spell,
        "negative_text": spell[1],
    }
    assert describe_texts(None, [cat, dog]) == {"negative_text": spell[0], "negative_texts": spell}
    assert describe_texts(None, None) == describe_texts([], None) == {}
    json.dumps(describe_texts([cat, dog], [cat]))
