"""Each field of a request is said once, and everything that shows, reads or checks requests goes by that."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from diffatlas.params import GenerationParams
from diffatlas.request import FIELDS, named

#: What no option of the shell asks for, and why.
WITHOUT_FLAG = {
    "prompt": "it is the argument of its commands",
    "noise": "a neighbourhood makes it of --radius, --step and --to-seed",
    "extra": "of further arguments the shell has --strength, which goes with --image",
    "inputs": "--image and --mask name files, which are read into them",
}


def test_every_field_of_a_request_is_said_once() -> None:
    parts = Counter(part for field in FIELDS for part in field.parts)
    assert parts == Counter(field.name for field in dataclasses.fields(GenerationParams))
    assert {name for name, times in Counter(field.name for field in FIELDS).items() if times > 1} == set()


@pytest.mark.parametrize("what", ["link", "called"])
def test_no_two_fields_have_one_name(what: str) -> None:
    assert len({getattr(field, what) for field in FIELDS}) == len(FIELDS)


def test_a_field_that_no_form_has_is_told_of_where_a_link_would_ask_for_it() -> None:
    assert [field.name for field in FIELDS if field.in_forms == bool(field.beyond)] == []


def test_a_field_that_the_shell_cannot_ask_for_has_a_reason() -> None:
    assert {field.name for field in FIELDS if not field.flags} == set(WITHOUT_FLAG)


def test_a_request_begins_in_its_range_and_is_stored_as_it_always_was() -> None:
    plain = GenerationParams(prompt="a red circle").validate()
    # Whatever is added must be left out where nobody asks for it, or the keys of all stored runs would change.
    assert list(plain.to_dict()) == [
        "model", "prompt", "negative_prompt", "seed", "num_inference_steps", "guidance_scale", "width", "height",
        "scheduler", "num_images_per_prompt",
    ]  # fmt: skip
    with pytest.raises(KeyError):
        named("strength")


#: A field that there is not, put at the end of the table before anything else is imported.
MADE_UP = """
import dataclasses, json, tempfile, warnings
warnings.simplefilter("ignore")
from diffatlas import request
request.FIELDS += (request.Field(
    "clip_skip", request.WHOLE, least=1, most=12, label="CLIP skip", hint="Layers left out.", link="skip",
    about="how many layers of the text encoder are left out.", flags=("--clip-skip",), help="Layers left out.",
),)
from diffatlas import params

@dataclasses.dataclass(frozen=True)
class More(params.GenerationParams):
    clip_skip: int | None = None

params.GenerationParams = More
"""
USED = """
import gradio as gr
from diffatlas import cli
from diffatlas.described import Wrong
from diffatlas.errors import InvalidParams
from diffatlas.library import manifest
from diffatlas.formats import code, compared
from diffatlas.formats.tables import runs, study
from diffatlas.names import facts_of, told_apart
from diffatlas.ui import links
from diffatlas.ui.app import build_app
from diffatlas.ui.asked_words import also_told
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.viewer import asked_fields
from diffatlas.ui.libraries import Libraries

def refusal(asked):
    try:
        asked.validate()
    except InvalidParams as error:
        return [error.field, error.message]

def wrong(value):
    try:
        manifest._PARAMS({**one.to_dict(), "clip_skip": value})
    except Wrong:
        return True
    return False

one, other = More(prompt="a red circle"), More(prompt="a red circle", clip_skip=3)
app = build_app(Libraries(tempfile.mkdtemp()))
endpoints = app.get_api_info()["named_endpoints"]
ids = {c.elem_id: c for c in app.blocks.values() if getattr(c, "elem_id", None)}
drawn = [ids[f"{page}-clip_skip"] for page in ("field", "attention", "sweep", "neighbourhood", "bench")]
query = forms.query_of(other)
filled, problem = links.fill(query, lambda model: None, "shapes")
print(json.dumps({
    "refused": refusal(other.replace(clip_skip=13)),
    "stored": [other.to_dict().get("clip_skip"), "clip_skip" in one.to_dict()],
    "form": [[c.label, c.info] for c in drawn],
    "asked of a form": [forms.to_params({"prompt": "a", "skip": value}).clip_skip for value in (4.0, None)],
    "endpoints": {name: told["parameters"][-1]["parameter_name"] for name, told in endpoints.items()
                  if name[1:] in ("trace", "attention", "sweep", "neighbourhood", "bench")},
    "documented": "skip: how many" in next(f.fn.__doc__ for f in app.fns.values() if f.api_name == "trace"),
    "link": [query.get("skip"), "skip" in forms.query_of(one), filled["skip"], problem],
    "scripts": asked_fields()[-1],
    "shell": [cli.run([command, "a red circle", "--clip-skip", "13"]) for command in ("trace", "sweep")],
    "columns": [runs.ASKED[-1], "clip_skip" in study.COLUMNS, runs.asked_of(other)["clip_skip"]],
    "difference": [dataclasses.astuple(row) for row in compared.settings(one, other, {})],
    "names": told_apart(["mine", "mine"], [facts_of(one), facts_of(other)]),
    "told beside": [also_told(one), also_told(other)],
    "python": "clip_skip=3" in code.run_code(other, {}, {}),
    "read back": [wrong(value) for value in (3, None, "x")],
}))
"""


@pytest.fixture(scope="module")
def made_up() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", MADE_UP + USED],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "said": done.stderr}


def test_a_field_that_is_added_is_checked_and_stored(made_up: dict[str, Any]) -> None:
    assert made_up["refused"] == ["clip_skip", "The clip skip is 13: give a whole number from 1 to 12."]
    assert made_up["stored"] == [3, False]
    assert made_up["read back"] == [False, False, True]


def test_a_field_that_is_added_is_in_every_form_and_endpoint(made_up: dict[str, Any]) -> None:
    assert made_up["form"] == [["CLIP skip", "Layers left out."]] * 5
    assert made_up["asked of a form"] == [4, None]
    # At the end, so that programs which give values without names go on as before.
    assert made_up["endpoints"] == dict.fromkeys(
        ("/trace", "/sweep", "/neighbourhood", "/attention", "/bench"), "skip"
    )
    assert made_up["documented"]


def test_a_field_that_is_added_is_in_links_and_goes_along_from_page_to_page(made_up: dict[str, Any]) -> None:
    assert made_up["link"] == ["3", False, 3, None]
    told = {"name": "skip", "called": "clip skip", "kind": "a whole number"}
    assert made_up["scripts"] == told | {"single": False, "empties": True, "short": True}


def test_a_field_that_is_added_is_an_option_of_the_shell(made_up: dict[str, Any]) -> None:
    assert made_up["shell"] == [2, 2]
    assert made_up["said"].count("error: The clip skip is 13: give a whole number from 1 to 12.") == 2


def test_a_field_that_is_added_is_in_tables_names_and_differences(made_up: dict[str, Any]) -> None:
    assert made_up["columns"] == ["clip_skip", True, 3]
    assert made_up["difference"] == [["clip skip", "none", "3"]]
    assert made_up["names"] == ["mine, no clip skip", "mine, clip skip 3"]
    assert made_up["told beside"] == [[], [["clip skip", "3", ""]]]
    assert made_up["python"]
