"""What is said of a prompt that was not read whole: the sentences, and where they are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from diffatlas.formats.kinds import export
from diffatlas.formats.named import Named
from diffatlas.formats.report import run as report
from diffatlas.formats.told import MOST_CUT, known_words, unread
from tests.formats.test_export_html import data_of
from tests.formats.test_export_report import text


def cut(of="prompt", families=("clip",), encoders=("text_encoder",), tokens=77, read_by=(), **more):
    named = {"families": list(families), "encoders": list(encoders), "read_by": list(read_by)}
    return {"of": of, "text": "and\n a <b>ring</b>", "tokens": tokens, **named, **more}


def told(*entries, unknown=()):
    return unread({"prompt": {"cut": list(entries), "unknown": list(unknown)}})


@pytest.mark.parametrize(
    ("entries", "sentences"),
    [
        ([cut()], ["The model read 77 tokens of the prompt; it did not read: “and a <b>ring</b>”."]),
        (
            [cut(read_by=["t5"])],
            [
                "CLIP read 77 tokens of the prompt; it did not read: “and a <b>ring</b>”. T5 read all of it.",
            ],
        ),
        (
            [cut("negative_prompt"), cut("negative_prompt", ["t5"], ["text_encoder_2"], 512)],
            [
                "CLIP read 77 tokens of the negative prompt; it did not read: “and a <b>ring</b>”.",
                "T5 read 512 tokens of the negative prompt; it did not read: “and a <b>ring</b>”.",
            ],
        ),
        (
            [cut(), cut(encoders=["text_encoder_2"], tokens=218, read_by=["llama", "qwen2"])],
            [
                "text_encoder read 77 tokens of the prompt; it did not read: “and a <b>ring</b>”.",
                "text_encoder_2 read 218 tokens of the prompt; it did not read: “and a <b>ring</b>”. Llama and Qwen2"
                " read all of it.",
            ],
        ),
        (
            [cut(index=0), cut(index=2)],
            [
                "The model read 77 tokens of the prompt (text 1); it did not read: “and a <b>ring</b>”.",
                "The model read 77 tokens of the prompt (text 3); it did not read: “and a <b>ring</b>”.",
            ],
        ),
    ],
)
def test_each_says_who_did_not_read_what(entries, sentences):
    assert told(*entries) == sentences


def test_words_that_were_never_taught():
    of_both = [{"of": "prompt", "words": ["photo", "cat"]}, {"of": "negative_prompt", "words": ["dog"]}]
    assert told(unknown=of_both) == [
        "The model was never taught: photo, cat.",
        "The model was never taught, of the negative prompt: dog.",
    ]
    many = [{"of": "prompt", "words": [f"w{i}" for i in range(45)]}]
    assert told(unknown=many)[0].endswith("w39 and 5 more.")


def test_a_long_rest_is_told_by_its_beginning():
    (sentence,) = told(cut(text="é" * 5000))
    assert sentence.count("é") == MOST_CUT
    assert sentence.endswith("é…”.")


@pytest.mark.parametrize(
    "wrong", [None, 3, "x", [1], {"cut": 3}, {"cut": [1, None]}, {"unknown": {"of": "x"}}]
)
def test_what_is_no_such_record_tells_nothing(wrong):
    assert unread({"prompt": wrong}) == []
    assert known_words({"prompt": wrong}) == []


def test_known_words_are_those_of_the_record():
    assert known_words({"prompt": {"known": {"shapes": ["a", "b"], "odd": 3}}}) == [
        ("shapes", ["a", "b"]),
        ("odd", []),
    ]
    assert unread({}) == known_words({}) == []


@pytest.fixture(scope="module")
def unread_run(run):
    prompt = {"cut": [cut()], "unknown": [{"of": "prompt", "words": ["cat"]}], "known": {"shapes": ["ring"]}}
    return replace(run, provenance={**run.provenance, "prompt": prompt})


def test_the_report_and_the_page_say_it(run, unread_run):
    layer = Named("unread", unread_run, "#7c2d36")
    found = text(report.pdf([layer]))
    assert "The model was never taught: cat." in found
    assert "The model read 77 tokens of the prompt" in found
    assert "never taught" not in text(report.pdf([Named("plain", run, "#7c2d36")]))
    html = export("html", [layer])
    assert data_of(html)["runs"][0]["notes"] == unread(unread_run.provenance)
    assert b"<b>ring" not in html
