"""What a model does not read of its prompts, against the ids that its text encoders were really given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from diffatlas import observe
from diffatlas.capture import Capture
from diffatlas.capture.taught import taught_words, words_of
from diffatlas.capture.text_rows import Tokenised, extent_of
from diffatlas.library import Library
from tests.capture.seen_texts import ENCODERS, asked

QUICK = Capture(previews="off", predictions=False)
#: Longer than every limit here: the tokenizers of the small pipelines make a token of each letter.
LONG = " ".join(f"red{i} cat" for i in range(40))
LONG_TOO = " ".join(f"ugly{i} dog" for i in range(20))


@contextmanager
def encoders_seen(pipe: Any) -> Iterator[dict[str, list[str]]]:
    """What each encoder was given, decoded by its own tokenizer, by hooks of the tests' own."""
    seen: dict[str, list[str]] = {}
    hooks = []
    for name in ENCODERS:
        if getattr(pipe, name, None) is None:
            continue
        tokenizer = getattr(pipe, name.replace("text_encoder", "tokenizer"))

        def hook(
            module: Any, args: tuple, kwargs: dict, name: str = name, tokenizer: Any = tokenizer
        ) -> None:
            ids = args[0] if args else kwargs["input_ids"]
            texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
            seen.setdefault(name, []).extend(text.replace(" ", "") for text in texts)

        hooks.append(getattr(pipe, name).register_forward_pre_hook(hook, with_kwargs=True))
    yield seen
    for each in hooks:
        each.remove()


def run_of(pipe: Any, prompt: Any, **options: Any) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Return what a run says of its prompts, and what the encoders were given."""
    with encoders_seen(pipe) as seen, observe(pipe, QUICK) as trace:
        pipe(**asked(pipe, prompt, **options))
    return trace.run.provenance.get("prompt", {}), seen


def without_blanks(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(
    ("fixture", "cutting", "families", "tokens", "reading"),
    [
        ("sd_pipe", ["text_encoder"], ["clip"], 77, []),
        ("sdxl_pipe", ["text_encoder", "text_encoder_2"], ["clip"], 77, []),
        ("pixart_pipe", ["text_encoder"], ["t5"], 16, []),
    ],
)
def test_what_is_read_and_what_is_cut_are_the_whole_prompt(
    fixture, cutting, families, tokens, reading, request
):
    pipe = request.getfixturevalue(fixture)
    told, seen = run_of(pipe, LONG, negative_prompt=LONG_TOO)
    assert [(entry["of"], entry["encoders"]) for entry in told["cut"]] == [
        ("prompt", cutting),
        ("negative_prompt", cutting),
    ]
    for entry, prompt in zip(told["cut"], (LONG, LONG_TOO), strict=True):
        assert (entry["families"], entry["tokens"], entry["read_by"]) == (families, tokens, reading)
        assert prompt.endswith(entry["text"])
        for name in cutting:
            assert any(
                read + without_blanks(entry["text"]) == without_blanks(prompt).lower() for read in seen[name]
            )
    assert json.loads(json.dumps(told)) == told


def test_encoders_that_read_more_say_so(sd3_pipe):
    """CLIP's 77 tokens, and more of T5: each letter is one token."""
    prompt = "a" * 100
    told, seen = run_of(sd3_pipe, prompt, max_sequence_length=128, guided=False)
    (entry,) = told["cut"]
    assert (entry["encoders"], entry["read_by"]) == (["text_encoder", "text_encoder_2"], ["t5"])
    assert prompt in seen["text_encoder_3"]
    assert entry["text"] == "a" * (100 - len(seen["text_encoder"][0]))


def test_encoders_with_other_limits_cut_at_other_places(flux_pipe):
    told, seen = run_of(flux_pipe, LONG, max_sequence_length=40, guided=False)
    assert [(e["encoders"], e["tokens"]) for e in told["cut"]] == [
        (["text_encoder"], 77),
        (["text_encoder_2"], 40),
    ]
    for entry in told["cut"]:
        (read,) = seen[entry["encoders"][0]]
        assert (read + without_blanks(entry["text"])).lower() == without_blanks(LONG)


def test_a_second_prompt_is_told_under_its_own_name(sdxl_pipe):
    told, _ = run_of(sdxl_pipe, "a cat", prompt_2=LONG, negative_prompt="bad")
    (entry,) = told["cut"]
    assert (entry["of"], entry["encoders"], entry["families"]) == ("prompt_2", ["text_encoder_2"], ["clip"])


def test_a_batch_tells_which_of_its_prompts_was_cut(sd_pipe):
    told, _ = run_of(sd_pipe, ["a cat", LONG], negative_prompt="bad")
    assert [(entry["of"], entry["index"]) for entry in told["cut"]] == [("prompt", 1)]


@pytest.mark.parametrize("length", [74, 75, 76])
def test_the_limit_itself(sd_pipe, length):
    told, _ = run_of(sd_pipe, "a" * length, guided=False)
    assert [entry["text"] for entry in told.get("cut", [])] == ["a"] * max(0, length - 75)


def test_a_negative_prompt_that_is_not_read_is_not_told_of(sd_pipe):
    """Without guidance the pipeline encodes no negative prompt."""
    told, seen = run_of(sd_pipe, "a cat", guided=False, negative_prompt=LONG)
    assert (told, len(seen["text_encoder"])) == ({}, 1)


def test_a_tokenizer_that_keeps_no_record_of_what_it_cut_is_asked_again(sd_pipe):
    out = sd_pipe.tokenizer(LONG, padding="max_length", max_length=77, truncation=True)
    with_record = Tokenised(sd_pipe.tokenizer, tuple(out.input_ids), LONG, ((LONG,),), out.encodings[0])
    without = Tokenised(sd_pipe.tokenizer, tuple(out.input_ids), LONG, ((LONG,),))
    found = extent_of(out.input_ids, [without])
    assert found == extent_of(out.input_ids, [with_record])
    assert (len(found.read), len(found.whole)) == (75, len(without_blanks(LONG)))


def test_blanks_are_no_prompt(sd_pipe):
    told, _ = run_of(sd_pipe, "a" * 75 + " \n\t  ", guided=False)
    assert told == {}


def test_embeddings_in_place_of_a_prompt_tell_nothing(sd_pipe):
    embeds, _ = sd_pipe.encode_prompt(LONG, "cpu", 1, False)
    told, _ = run_of(sd_pipe, None, prompt_embeds=embeds, guided=False)
    assert told == {}


def test_each_call_is_told_of_anew(sd_pipe):
    with observe(sd_pipe, QUICK) as trace:
        sd_pipe(**asked(sd_pipe, LONG, guided=False))
        assert trace.run.provenance["prompt"]["cut"]
        sd_pipe(**asked(sd_pipe, "a cat", guided=False))
        assert "prompt" not in trace.run.provenance


def test_what_fails_in_telling_disturbs_no_run(sd_pipe, monkeypatch):
    plain = sd_pipe(**asked(sd_pipe, LONG, guided=False)).images
    monkeypatch.setattr("diffatlas.capture.texts.unread", lambda *_: 1 / 0)
    with observe(sd_pipe, QUICK) as trace:
        seen = sd_pipe(**asked(sd_pipe, LONG, guided=False)).images
    assert torch.equal(torch.as_tensor(plain), torch.as_tensor(seen))
    assert "prompt" not in trace.run.provenance


def test_words_that_the_model_was_never_taught(shapes_pipe, tmp_path):
    with observe(shapes_pipe, QUICK) as trace:
        shapes_pipe(
            "A photo of a cat, LEFT of a cat-like ring: red.",
            negative_prompt="a blurry blue star",
            num_inference_steps=2,
            guidance_scale=3.0,
        )
    told = trace.run.provenance["prompt"]
    assert told["unknown"] == [
        {"of": "prompt", "words": ["cat", "cat-like"]},
        {"of": "negative_prompt", "words": ["blurry"]},
    ]
    assert "left of" in told["known"]["relations"]
    assert "cut" not in told
    library = Library(tmp_path)
    library.save(trace.run)
    assert library.open(trace.run.id).provenance["prompt"] == told


def test_a_prompt_of_known_words_has_nothing_to_tell(shapes_pipe):
    with observe(shapes_pipe, QUICK) as trace:
        shapes_pipe("two red circles on a navy background", num_inference_steps=2)
    assert "prompt" not in trace.run.provenance


def test_the_lists_of_the_models_are_the_words_of_the_training_texts():
    """Captions drawn as the training draws them, against the words.md of both folders."""
    import random

    from diffatlas.shapes.scenes import sample_caption, sample_scene

    rng = random.Random(3)
    drawn = {word for _ in range(20_000) for word in sample_caption(rng, sample_scene(rng)).split()}
    for name in ("shapes", "shapes-dit"):
        known = words_of(Path(__file__).parents[2] / "models" / name)
        assert {word for phrases in known.values() for phrase in phrases for word in phrase.split()} == drawn


def test_a_folder_without_a_list_tells_no_words(sd_pipe, tmp_path):
    assert taught_words(sd_pipe) == {}
    assert words_of(tmp_path) == {}
    (tmp_path / "words.md").write_bytes(b"\xff\xfe- a: b")
    assert words_of(tmp_path) == {}
    (tmp_path / "words.md").write_text("# Words\n\n- beasts: a cat, dog\n- none:\nof any: kind\n")
    assert words_of(tmp_path) == {"beasts": ["a cat", "dog"]}
