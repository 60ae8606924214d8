"""What the Attention page asks of the server, on runs of the embedded model, against the attention that was stored."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace

import numpy as np
import pytest

from diffatlas import ImageInput, figures
from diffatlas.capture.spec import Capture
from diffatlas.operations.attention import attention_of, js
from diffatlas.operations.attention_boxes import binding, word_overlap
from diffatlas.operations.trace import shared_local_backend, stream
from diffatlas.params import GenerationParams
from diffatlas.run import collect
from diffatlas.ui.attention_services import AttentionServices
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.visitors import COOKIE, visitor_of

SECRET, STRANGER = "1" * 32, "2" * 32
PROMPT = "a red circle and a blue square"
RUNS = {
    "one": ({"prompt": PROMPT, "seed": 7}, {"attention": "all", "attention_heads": "each"}),
    "two": ({"prompt": PROMPT, "seed": 8}, {"attention": "cross", "attention_halves": "both"}),
    "other": ({"prompt": "a green star", "seed": 9}, {"attention": "self"}),
    "none": ({"prompt": "a green ring", "seed": 9}, {}),
}


def request_of(secret):
    return SimpleNamespace(cookies={COOKIE: secret} if secret else {})


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Four runs of one visitor, three of them with attention, and the calls that the page may make."""
    libraries = Libraries(tmp_path_factory.mktemp("runs"), shared=True)
    library = libraries.of(visitor_of(request_of(SECRET)))
    ids = {}
    for name, (asked, watched) in RUNS.items():
        params = GenerationParams(**asked, num_inference_steps=6, guidance_scale=3)
        ids[name] = collect(stream(params, Capture(previews="every", **watched), library=library)).id
    layers = Layers(libraries)
    services = AttentionServices(libraries, layers, shared_local_backend(), {"shapes": "Shapes"})
    calls = {call.__name__: call for call in services.functions}

    def ask(name, secret=SECRET, /, **asked):
        answer = calls[name](asked, request_of(secret))
        json.dumps(answer, allow_nan=False)  # what cannot be sent is found here
        return answer

    return SimpleNamespace(ask=ask, ids=ids, library=library, layers=layers)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))


def attention(room, name):
    return attention_of(room.library.open(room.ids[name]))


def floats(text, *shape):
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(shape)


def maps(answer):
    return floats(answer["values"], -1, answer["rows"], answer["columns"])


def indices(trace, word):
    return [t.index for t in trace.tokens if t.word_text == word]


def test_runs_with_attention_are_listed_newest_first(room):
    runs = room.ask("attention_runs")["runs"]
    assert [run["id"] for run in runs] == [room.ids[name] for name in ("other", "two", "one")]
    assert [run["attention"] for run in runs] == ["self", "cross", "all"]
    assert runs[0]["thumb"].startswith("data:image/webp")


def test_a_run_is_described_with_its_measures(room):
    told, trace = room.ask("attention", id=room.ids["one"]), attention(room, "one")
    assert [step["index"] for step in told["steps"]] == list(trace.steps)
    assert [token["word_text"] for token in told["tokens"]] == [t.word_text for t in trace.tokens]
    np.testing.assert_allclose(told["entropy"], trace.entropy().mean(1), rtol=1e-5)
    np.testing.assert_allclose(told["self_entropy"], trace.entropy("self").mean(1), rtol=1e-5)
    np.testing.assert_allclose(told["kl"][1:], trace.kl()[1:], rtol=1e-5)
    assert told["kl"][0] is None
    assert told["spikes"] == trace.spikes()
    np.testing.assert_allclose(floats(told["activation"], 6, -1), trace.activation(), rtol=1e-5)
    assert told["per_head"]
    assert not told["halves"]


def test_maps_of_a_word_are_those_of_the_attention(room):
    trace = attention(room, "one")
    word = indices(trace, "red")
    answer = room.ask("word_maps", id=room.ids["one"], tokens=word)
    np.testing.assert_allclose(maps(answer), trace.word_maps("red"), rtol=1e-5)
    head = room.ask("word_maps", id=room.ids["one"], tokens=word, layers=["mid"], head=2)
    np.testing.assert_allclose(maps(head), trace.at(head=2).word_maps("red", layers="mid"), rtol=1e-5)
    both = room.ask("words_at", id=room.ids["one"], step=3, words=[word, indices(trace, "square")])
    wanted = np.concatenate([trace.word_maps(w, steps=3) for w in ("red", "square")])
    np.testing.assert_allclose(maps(both), wanted, rtol=1e-5)
    # With each word's activation: the mean over its tokens.
    by_token = trace.activation()
    np.testing.assert_allclose(answer["activation"], by_token[:, word].mean(1), rtol=1e-5)
    at = [by_token[trace.steps.index(3), indices(trace, w)].mean() for w in ("red", "square")]
    np.testing.assert_allclose(both["activation"], at, rtol=1e-5)
    whole = room.ask("daam", id=room.ids["one"], tokens=word)
    np.testing.assert_allclose(maps(whole)[0], trace.daam("red"), rtol=1e-5)


def test_the_half_without_the_prompt(room):
    trace = attention(room, "two")
    assert room.ask("attention", id=room.ids["two"])["halves"]
    word = indices(trace, "red")
    found = maps(room.ask("word_maps", id=room.ids["two"], tokens=word, half="uncond"))
    np.testing.assert_allclose(found, trace.at(half="uncond").maps(tokens=word).mean(1), rtol=1e-5)
    assert (
        "Only the conditional half"
        in room.ask("word_maps", id=room.ids["one"], tokens=word, half="uncond")["error"]["message"]
    )


def test_where_a_place_looks(room):
    answer = room.ask("looks_at", id=room.ids["other"], step=5, place=[0.25, 0.75])
    np.testing.assert_allclose(maps(answer)[0], attention(room, "other").looks_at(5, (0.25, 0.75)), rtol=1e-5)
    for place in (None, [0.5], ["a", "b"], [0.5, 7]):
        assert "place" in room.ask("looks_at", id=room.ids["other"], step=5, place=place)["error"]["message"]


def test_words_are_held_against_the_objects_of_the_image(room):
    trace, image = attention(room, "one"), room.library.open(room.ids["one"]).images()[0]
    told = room.ask("objects", id=room.ids["one"])
    assert [word["word"] for word in told["words"]] == ["red", "circle", "blue", "square"]
    for word in told["words"]:
        overlap = word_overlap(trace, image, word["word"])
        assert len(word["found"]) == len(overlap.found)
        if overlap.found:
            np.testing.assert_allclose(word["share"], overlap.share, rtol=1e-5)
            np.testing.assert_allclose(word["uniform"], overlap.uniform, rtol=1e-5)
            left, top, right, bottom = overlap.found[0].box
            np.testing.assert_allclose(word["found"][0]["box"], np.array([left, top, right, bottom]) / 64)
    bound = binding(trace, image)
    assert (told["binding"] is None) == (bound is None)
    if bound:
        assert told["binding"]["holds"] == bound.holds
        np.testing.assert_allclose(told["binding"]["values"], bound.values, rtol=1e-5)
        assert told["binding"]["mean"] == pytest.approx(np.nanmean(bound.values), rel=1e-5)


def test_bindings_of_several_runs_say_why_one_has_none(room):
    rows = room.ask("bindings", ids=[room.ids["one"], room.ids["other"]])["runs"]
    assert [row["id"] for row in rows] == [room.ids["one"], room.ids["other"]]
    assert rows[1]["values"] is None
    assert "two colours" in rows[1]["why"]


def test_two_runs_are_compared(room):
    found = room.ask("divergence", a=room.ids["one"], b=room.ids["two"])
    own = js(attention(room, "one"), attention(room, "two"))
    (mean,) = (trace for trace in found["data"] if trace["meta"].get("mean"))
    np.testing.assert_allclose(mean["y"], own.by_step)
    meta = found["layouts"]["1"]["meta"]
    assert meta["pairs"] == [[x.index, y.index] for x, y in own.tokens]
    wanted = figures.attention_divergence(*(room.library.open(room.ids[name]) for name in ("one", "two")))
    assert meta["says"] == wanted.layout.meta["says"]
    same = room.ask("divergence", a=room.ids["one"], b=room.ids["one"])
    assert "same run" in same["error"]["message"]


@pytest.mark.parametrize("layers", [None, ["mid"]])
def test_the_curves_are_the_figure_of_the_run_as_it_is_looked_at(room, layers):
    found = room.ask("attention_curves", id=room.ids["one"], layers=layers, dark=True)
    wanted = figures.attention_curves(attention(room, "one").within(layers), dark=True)
    assert set(found["layouts"]) == {"1", "2", "3"}
    assert [trace["y"] for trace in found["data"]] == [list(trace.y) for trace in wanted.data]
    for layout in found["layouts"].values():
        assert layout["meta"]["says"] == wanted.layout.meta["says"]
        # Which lines the page finds by their names, and room for what it writes beneath the titles.
        assert layout["meta"]["reading"] > 0
    lines = {trace["meta"].get("line") for trace in found["data"]}
    words = PROMPT.split()
    assert lines >= {f"word {k}" for k in range(len(words))}


@pytest.mark.parametrize("layers", [None, ["mid"]])
@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("by_row", [False, True])
def test_the_words_are_the_figure_of_the_run_as_it_is_looked_at(room, layers, special, by_row):
    asked = {"id": room.ids["one"], "layers": layers, "special": special, "by_row": by_row}
    found = room.ask("attention_words", **asked)
    wanted = figures.attention_words(attention(room, "one").within(layers), special=special, by_row=by_row)
    assert [trace["z"] for trace in found["data"]] == [
        [list(row) for row in trace.z] for trace in wanted.data
    ]
    layout = found["layouts"]["1"]
    assert layout["meta"]["says"] == wanted.layout.meta["says"]
    assert layout["meta"]["reading"] > 0


def test_objects_are_drawn_with_their_shares_and_binding(room):
    found = room.ask("objects", id=room.ids["one"])
    figure = found["figure"]
    shares = {
        trace["name"]: trace["y"] for trace in figure["data"] if trace["meta"]["measure"] == "box_share"
    }
    for word in found["words"]:
        if word["found"]:
            np.testing.assert_allclose(shares[word["word"]], word["share"], rtol=1e-5)
            np.testing.assert_allclose(word["lift"], np.array(word["share"]) / word["uniform"], rtol=1e-5)
    bound = [trace for trace in figure["data"] if trace["meta"]["measure"] == "binding"]
    assert len(bound) == len(found["binding"]["words"] if found["binding"] else ())
    seeds = room.ask("bindings", ids=[room.ids["one"], room.ids["two"]], first=room.ids["one"])
    drawn = {
        trace["meta"]["line"]: trace["y"] for trace in seeds["figure"]["data"] if "line" in trace["meta"]
    }
    for row in seeds["runs"]:
        if row["values"]:
            np.testing.assert_allclose(drawn[row["id"]], row["values"], rtol=1e-5)


def test_a_run_without_attention_to_words_says_what_to_do(room):
    told = room.ask("attention", id=room.ids["other"])
    assert told["activation"] is None
    assert told["entropy"] is None
    assert told["self_entropy"]
    for call, asked in (("word_maps", {"tokens": [1]}), ("objects", {}), ("daam", {"tokens": [1]})):
        message = room.ask(call, id=room.ids["other"], **asked)["error"]["message"]
        assert "attention" in message
    assert "capture it again" in room.ask("attention", id=room.ids["none"])["error"]["message"]


@pytest.mark.parametrize(
    ("call", "asked"),
    [
        ("word_maps", {"tokens": []}),
        ("word_maps", {"tokens": ["red"]}),
        ("word_maps", {"tokens": [1], "layers": "mid"}),
        ("word_maps", {"tokens": [1], "layers": ["nothing"]}),
        ("word_maps", {"tokens": [1], "head": 99}),
        ("word_maps", {"tokens": [1], "image": 1}),
        ("words_at", {"step": 99, "words": [[1]]}),
        ("words_at", {"step": 1, "words": []}),
        ("attention", {"half": "third"}),
        ("step_picture", {"step": "first"}),
    ],
)
def test_what_is_not_there_is_refused_with_a_sentence(room, call, asked):
    message = room.ask(call, id=room.ids["one"], **asked)["error"]["message"]
    assert message.endswith(".")
    assert "log says why" not in message


def test_pictures_come_at_full_size_and_runs_become_layers(room):
    assert room.ask("step_picture", id=room.ids["one"], step=2)["picture"].endswith("image.png")
    assert room.ask("open", ids=[room.ids["one"]])["layers"] == [room.ids["one"]]
    assert [layer.id for layer in room.layers.of(visitor_of(request_of(SECRET)))] == [room.ids["one"]]


def test_the_picture_that_a_run_began_from_is_beside_its_attention(room):
    from PIL import Image

    assert room.ask("attention", id=room.ids["one"])["inputs"] == []
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    given = ImageInput.of("image", Image.fromarray(pixels))
    asked = GenerationParams(prompt="a red circle", num_inference_steps=4, inputs=(given,))
    run = collect(stream(asked, Capture(attention="cross"), library=room.library)).id
    (shown,) = room.ask("attention", id=run)["inputs"]
    picture = Image.open(shown["url"].removeprefix("gradio_api/file="))
    np.testing.assert_array_equal(np.asarray(picture), pixels)
    room.library.delete(run)


def test_another_visitor_reaches_nothing(room):
    assert room.ask("attention_runs", STRANGER)["runs"] == []
    for call, asked in (
        ("attention", {}),
        ("word_maps", {"tokens": [1]}),
        ("step_picture", {"step": 0}),
        ("open", {"ids": [room.ids["one"]]}),
    ):
        assert "error" in room.ask(call, STRANGER, id=room.ids["one"], **asked)
