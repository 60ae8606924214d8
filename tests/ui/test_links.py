"""Links fill the form, or say what is wrong with them."""

from __future__ import annotations

import asyncio

import pytest

from diffatlas.params import GenerationParams, Lora, Noise
from diffatlas.registry import list_models
from diffatlas.ui import links
from diffatlas.ui.components import form
from tests.own_thread import in_own_thread

FIRST = "shapes"


def fill(**query):
    return links.fill(query, lambda model: None, FIRST)


def value(update):
    return update["value"] if isinstance(update, dict) and "value" in update else update


def test_what_a_link_names_is_filled_and_nothing_else():
    filled, problem = fill(
        prompt="a red circle", seed="7", steps="12", guidance="2.5", size="64x96", other="x"
    )
    assert problem is None
    assert value(filled["prompt"]) == "a red circle"
    assert filled["seed"] == 7
    assert filled["steps"] == 12
    assert filled["guidance"] == 2.5
    assert value(filled["size"]) == "64x96"
    assert "value" not in filled["model"]
    assert "value" not in filled["negative_prompt"]


def test_a_method_comes_with_its_options():
    filled, problem = fill(prompt="a red circle", guidance_method="apg", guidance_options="eta=0.5, norm=2")
    assert problem is None
    assert filled["guidance_method"]["value"] == "apg"
    assert filled["guidance_options"]["value"] == "eta=0.5, norm=2"
    assert filled["guidance_options"]["visible"]


def test_a_page_without_a_link_is_left_alone():
    filled, problem = fill(page="library", run="x")
    assert problem is None
    assert all("value" not in update for update in filled.values())


def test_another_model_brings_its_own_first_values_unless_the_link_has_some():
    other = next(entry for entry in list_models("local") if entry.size != 64)
    filled, _ = fill(model=other.id, steps="3")
    assert value(filled["model"]) == other.id
    assert filled["steps"] == 3
    assert value(filled["size"]) != "64x64"


def test_a_model_that_a_link_brings_takes_the_mark_of_a_wrong_one_back():
    other = list_models("local")[1]
    updates, problem = links.fill({"model": other.id}, lambda model: None, list_models("local")[0].id)
    assert problem is None
    assert updates["model"]["elem_classes"] == form.on_model(other, None)[0]["elem_classes"] == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"steps": "many"}, "steps"), ({"seed": "nan"}, "seed"), ({"seed": "1e999"}, "seed"), ({"size": "big"}, "size"),
        ({"model": "../../etc/passwd"}, "model"), ({"guidance_method": "magic"}, "magic"),
        ({"guidance_method": "apg", "guidance_options": "eta=9"}, "eta"),
        ({"guidance_method": "apg", "guidance_options": "norm=nan"}, "norm"),
        ({"guidance_method": "apg", "guidance_options": "etta=0.5"}, "etta"),
        ({"guidance_method": "apg", "guidance_options": "eta=many"}, "eta=many"),
        ({"guidance_options": "eta=0.5"}, "without a guidance method"),
        ({"noise": "shake, seed=1, amount=0.5"}, "shake"), ({"noise": "perturb, seed=1, amount=1.5"}, "1.5"),
        ({"noise": "perturb, seed=1, amount=nan"}, "nan"), ({"noise": "perturb, amount=0.5"}, "noise"),
        ({"noise": "perturb, seed=1, amount=0.5, step=4", "steps": "4"}, "step"),
        ({"noise": "slerp, seed=1, amount=0.5, step=1"}, "step"), ({"noise": "perturb; import os"}, "noise"),
        ({"images": "0"}, "images"), ({"images": "65"}, "images"), ({"images": "1.5"}, "images"),
        ({"images": "inf"}, "images"), ({"loras": "style.safetensors at 0.8"}, "style.safetensors"),
        ({"variant": "fp16"}, "variant"), ({"revision": "main"}, "revision"), ({"subfolder": "../x"}, "subfolder"),
    ],
)  # fmt: skip
def test_a_wrong_link_fills_nothing_and_says_why(query, words):
    filled, problem = fill(prompt="a red circle", **query)
    assert words in problem.lower()
    assert all("value" not in update for update in filled.values() if isinstance(update, dict))
    assert not any(isinstance(update, (int, float, str)) for update in filled.values())


ASKED = GenerationParams(
    prompt="a red circle & 50% <blue>",
    seed=2**40 + 1,
    num_inference_steps=12,
    guidance_scale=2.1,
    width=64,
    height=96,
)


@pytest.mark.parametrize(
    "params",
    [
        ASKED,
        ASKED.replace(negative_prompt="a star", scheduler="euler"),
        ASKED.replace(
            guidance_method="apg", guidance_options={"eta": 0.1 + 0.2, "norm": 15.0, "momentum": -0.5}
        ),
        ASKED.replace(guidance_method="tangential"),
        ASKED.replace(noise=Noise("perturb", 8, 1 / 3, step=2)),
        ASKED.replace(noise=Noise("slerp", 2**62 + 1, 1.0)),
        ASKED.replace(num_images_per_prompt=3, guidance_scale=0.0),
    ],
)
def test_a_link_carries_all_that_a_request_can_have(params):
    """What the form makes of a run's link is the run's request, to the bit."""
    from urllib.parse import parse_qsl, urlencode

    query = dict(parse_qsl(urlencode(form.query_of(params))))
    filled, problem = fill(**query)
    assert problem is None
    assert query.pop("model") == FIRST  # the form's own
    assert set(query) <= set(filled)
    # The form as it is before a link.
    values = {
        "model": FIRST, "prompt": "", "negative_prompt": "", "seed": 7, "steps": 30, "guidance": 5.0, "size": "64x64",
        "scheduler": "", "guidance_method": "", "guidance_options": "", "noise": "", "images": 1,
    }  # fmt: skip
    values |= {name: value(filled[name]) for name in query}
    assert form.to_params(values) == params


def test_what_a_link_brings_is_seen_and_can_be_taken_away():
    filled, _ = fill(prompt="a red circle", noise="perturb, seed=8, amount=0.3", images="2")
    assert (filled["noise"]["visible"], filled["images"]["visible"]) == (True, True)
    values = {"model": "shapes", "prompt": "a red circle", "size": "64x64"}
    assert form.to_params({**values, "noise": filled["noise"]["value"]}).noise == Noise("perturb", 8, 0.3)
    assert form.to_params({**values, "noise": "", "images": 1}) == form.to_params(values)


def test_a_method_that_is_folded_away_is_told():
    params = ASKED.replace(guidance_method="apg", guidance_options={"eta": 0.0, "norm": 15.0})
    assert "adaptive projected, eta 0, norm 15" in links.folded(form.query_of(params))
    assert links.folded(form.query_of(ASKED)) is None


def test_a_link_names_no_folder_of_this_machine():
    params = ASKED.replace(loras=(Lora("/home/me/secret/style.safetensors", 0.8), Lora("user/name", 1)))
    assert form.query_of(params)["loras"] == "style.safetensors at 0.8, user/name at 1"
    filled, problem = fill(**form.query_of(params))
    assert "style.safetensors" in problem
    assert "shell" in problem
    assert all("value" not in update for update in filled.values() if isinstance(update, dict))


def test_every_page_takes_what_a_link_brings(tmp_path):
    """The functions that fill the five forms, as the app has them: an update for each field, with the same value."""
    from types import SimpleNamespace

    from diffatlas.ui.app import build_app
    from diffatlas.ui.libraries import Libraries

    app = build_app(Libraries(tmp_path))
    query = form.query_of(ASKED.replace(guidance_method="apg", noise=Noise("perturb", 8, 0.3)))
    fillers = [f for f in app.fns.values() if getattr(f.fn, "__name__", "") == "follow_link"]
    assert len(fillers) == 5
    for filler in fillers:
        updates = filler.fn(SimpleNamespace(query_params=query))
        assert len(updates) == len(filler.outputs)
        # The last is the model that the fields follow, which is no field.
        by_id = {
            c.elem_id.partition("-")[2]: value(u) for c, u in zip(filler.outputs[:-1], updates, strict=False)
        }
        assert updates[-1] == ASKED.model
        assert (by_id["prompt"], by_id["guidance_method"], by_id["seed"]) == (ASKED.prompt, "apg", ASKED.seed)
    single = [f for f in fillers if any(c.elem_id.endswith("-noise") for c in f.outputs[:-1])]
    assert {f.outputs[0].elem_id.partition("-")[0] for f in single} == {"field", "attention"}
    for filler in single:
        noise = [c.elem_id.endswith("-noise") for c in filler.outputs[:-1]].index(True)
        assert value(filler.fn(SimpleNamespace(query_params=query))[noise]) == "perturb, seed=8, amount=0.3"


@pytest.mark.parametrize(
    ("path", "below"),
    [("/", ""), ("/", "/atlas"), ("/atlas/", "/atlas"), ("/atlas", "/atlas"), ("/", "/atlas/")],
)
def test_the_name_of_a_page_is_kept_from_gradio_whatever_a_proxy_leaves_of_the_path(path, below):
    passed = []

    async def app(scope, receive, send):
        passed.append(scope["query_string"])

    scope = {"type": "http", "path": path, "root_path": below, "query_string": b"page=lab&seed=7"}
    for asked in (scope, {**scope, "path": f"{path.rstrip('/')}/gradio_api/info"}):
        in_own_thread(asyncio.run, links.PageParameter(app)(asked, None, None))
    assert passed == [b"seed=7", b"page=lab&seed=7"]
