"""The app read by gradio_client, as a script would."""

from __future__ import annotations

import httpx
import jsonschema
import numpy as np
import pytest

INPUTS = {
    "model": "shapes",
    "prompt": "a red circle",
    "negative_prompt": "",
    "seed": 7,
    "steps": 5,
    "guidance": 3,
    "size": "64x64",
    "scheduler": "",
    "previews": "every",
    "preview_decoder": "linear",
    "runs": 1,
    "seed_mode": "keep",
    "again": False,
    "guidance_method": "",
    "guidance_options": "",
    "attention": "off",
    "noise": "",
    "images": 1,
}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    from diffatlas.library import Library

    return Library(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def app(library):
    from diffatlas.ui.app import build_app, served
    from diffatlas.ui.libraries import Libraries

    app = build_app(Libraries(library.folder))
    app.queue(default_concurrency_limit=None)
    app.launch(prevent_thread_lock=True, quiet=True, run_history=False, server_name="127.0.0.1", **served())
    yield app
    app.close()


@pytest.fixture
def client(app):
    from gradio_client import Client

    return Client(app.local_url, verbose=False)


def test_streams_the_run_that_the_shell_would_make(client):
    import diffatlas

    values = list(client.submit(**INPUTS, api_name="/trace"))
    assert [len(value["steps"]) for value in values] == sorted(len(value["steps"]) for value in values)
    last = values[-1]
    assert last["status"] == "complete"

    run = diffatlas.trace(
        diffatlas.GenerationParams(prompt="a red circle", seed=7, num_inference_steps=5, guidance_scale=3),
        diffatlas.Capture(),
    )
    assert [step["sigma"] for step in last["steps"]] == pytest.approx(
        [step.sigma for step in run.steps], rel=1e-5
    )
    assert [step["sigma_before"] for step in last["steps"]] == pytest.approx(
        [run.initial_sigma, *(step.sigma for step in run.steps[:-1])], rel=1e-5
    )
    assert [step["metrics"][0] for step in last["steps"]] == pytest.approx(
        [float(np.linalg.norm(step.latents)) for step in run.steps], rel=1e-5
    )


def test_run_is_kept_in_the_library(client, library):
    last = client.predict(**{**INPUTS, "seed": 8}, api_name="/trace")
    assert library.load(last["run"]["id"]).params.seed == 8


def test_several_runs_come_one_after_another_and_all_but_the_last_are_locked(client, library):
    values = list(
        client.submit(**{**INPUTS, "seed": 20, "steps": 2, "runs": 3, "seed_mode": "next"}, api_name="/trace")
    )
    ends = {v["run"]["id"]: v for v in values if v["status"] == "complete"}
    assert [v["run"]["seed"] for v in ends.values()] == [20, 21, 22]
    assert [v["batch"]["number"] for v in ends.values()] == [1, 2, 3]
    layers = values[-1]["layers"]
    assert [(layer["seed"], layer["locked"]) for layer in layers] == [(20, True), (21, True), (22, False)]
    assert len({layer["colour"] for layer in layers}) == 3


def test_the_same_run_comes_out_of_the_library_unless_it_is_to_run_again(client):
    asked = {**INPUTS, "seed": 31, "steps": 3}
    first = client.predict(**asked, api_name="/trace")
    second = client.predict(**asked, api_name="/trace")
    third = client.predict(**{**asked, "again": True}, api_name="/trace")
    assert [value["cached"] for value in (first, second, third)] == [False, True, False]
    assert second["run"]["id"] == first["run"]["id"] != third["run"]["id"]
    assert second["steps"] == first["steps"] == third["steps"]


def test_attention_is_captured_where_it_is_asked_for(client, library):
    asked = {**INPUTS, "seed": 41, "steps": 3}
    watched = client.predict(**{**asked, "attention": "cross"}, api_name="/trace")
    assert library.open(watched["run"]["id"]).attention(2)
    assert [info.id for info in library.search(attention="cross").runs] == [watched["run"]["id"]]
    # It holds what a run without attention would, and not what one with more would.
    del asked["attention"]
    plain = client.predict(**asked, api_name="/trace")
    assert (plain["cached"], plain["run"]["id"]) == (True, watched["run"]["id"])
    assert plain["steps"] == watched["steps"]
    assert not client.predict(**asked, attention="all", api_name="/trace")["cached"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scheduler": "flow_euler"}, "ddim"),
        ({"previews": "sometimes"}, "previews"),
        ({"steps": 0}, "steps"),
        ({"runs": 2}, "Shuffle"),
    ],
)
def test_failure_is_a_value_and_not_an_exception(client, change, words):
    last = client.predict(**{**INPUTS, **change}, api_name="/trace")
    assert last["status"] == "failed"
    assert words in last["error"]["message"]


def test_what_a_link_brings_besides_is_run(client, library):
    import diffatlas
    from diffatlas.params import Noise

    asked = {**INPUTS, "seed": 51, "steps": 3, "guidance_method": "apg", "guidance_options": "eta=0.5"}
    last = client.predict(**{**asked, "noise": "perturb, seed=8, amount=0.3", "images": 2}, api_name="/trace")
    run = library.load(last["run"]["id"])
    assert (run.params.noise, run.params.num_images_per_prompt) == (Noise("perturb", 8, 0.3), 2)
    assert len(run.images) == 2
    told = {name: words for name, words, _ in last["run"]["also"]}
    assert set(told) == {"method", "noise", "images"}
    assert told["method"].startswith("adaptive projected, eta 0.5")
    assert last["run"]["query"]["noise"] == "perturb, seed=8, amount=0.3"
    plain = diffatlas.trace(run.params.replace(noise=None))
    assert not np.array_equal(run.initial_latents, plain.initial_latents)
    wrong = client.predict(**{**asked, "noise": "perturb, seed=8, amount=3"}, api_name="/trace")
    assert (wrong["status"], wrong["error"]["field"]) == ("failed", "noise")


def test_a_run_begins_from_a_picture_with_a_part_painted_over(client, library, tmp_path):
    from gradio_client import handle_file
    from PIL import Image

    pixels = np.random.default_rng(4).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    layer = np.zeros((64, 64, 4), np.uint8)
    layer[:32] = 255
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    Image.fromarray(layer).save(tmp_path / "layer.png")
    picture, painted = (handle_file(str(tmp_path / f"{name}.png")) for name in ("picture", "layer"))
    asked = {**INPUTS, "seed": 61, "steps": 4, "amount": 0.5}
    for layers in ([], [painted]):
        given = {"background": picture, "layers": layers, "composite": picture}
        last = client.predict(**asked, picture=given, api_name="/trace")
        assert (last["status"], len(last["steps"])) == ("complete", 2)
        assert [one["name"] for one in last["inputs"]] == ["image", "mask_image"][: 1 + len(layers)]
        inputs = library.load(last["run"]["id"]).params.inputs
        np.testing.assert_array_equal(inputs[0].pixels, pixels)
    np.testing.assert_array_equal(inputs[1].pixels, layer[..., 3])
    wrong = client.predict(**{**asked, "amount": 2}, picture=given, api_name="/trace")
    assert (wrong["status"], wrong["error"]["field"]) == ("failed", "extra")
    # Without a picture there is nothing that the number could be about.
    assert len(client.predict(**asked, api_name="/trace")["steps"]) == 4


def test_no_stranger_names_a_file_of_the_server(client, monkeypatch):
    """On a shared server a model is one of the list. Nowhere is there a field for a LoRA or a subfolder."""
    from diffatlas.registry import models_folder

    folder = str(models_folder() / "shapes")
    asked = {**INPUTS, "model": folder, "steps": 2}
    assert client.predict(**asked, api_name="/trace")["status"] == "complete"
    monkeypatch.setenv("DIFFATLAS_MODE", "shared")
    for model in (folder, "/srv/models", "some-body/their-model"):
        refused = client.predict(**{**asked, "model": model}, api_name="/trace")
        assert refused["status"] == "failed"
        assert refused["error"]["field"] == "model"
        assert refused["error"]["message"] == (
            "On a shared server runs cannot have a model of their own: choose one of its models."
        )
    monkeypatch.setenv("DIFFATLAS_MODE", "personal")
    wrong = client.predict(**{**asked, "model": "/srv/models"}, api_name="/trace")
    assert (wrong["status"], wrong["error"]["field"]) == ("failed", "model")
    for name in ("loras", "subfolder", "variant", "revision"):
        with pytest.raises(TypeError, match=name):
            client.predict(**INPUTS, **{name: "x"}, api_name="/trace")


def test_a_sweep_and_a_neighbourhood_by_a_script(client, library):
    asked = {"prompt": "a blue square", "steps": 3, "seed": 9}
    swept = client.predict(**asked, values="1, 5", api_name="/sweep")
    assert swept["status"] == "complete"
    runs = [library.load(cell["run"]) for _, cell in sorted(swept["cells"].items())]
    assert [run.params.guidance_scale for run in runs] == [1, 5]
    near = client.predict(**asked, k=1, radius=0.3, api_name="/neighbourhood")
    cells = {key: library.load(cell["run"]) for key, cell in near["cells"].items()}
    assert cells["a-0-0"].params.noise is None
    assert cells["a-0-1"].params.noise.amount == 0.3
    found = library.search(kind="neighbourhood")
    assert {info.id for info in found.runs} >= {cells["a-0-1"].id}
    failed = client.predict(**asked, values="1, 1", api_name="/sweep")
    assert failed["error"]["field"] == "values"


def test_a_bench_by_a_script(client, library):
    asked = {"pack": "smoke", "each": 1, "seeds": 2, "steps": 2, "seed": 4, "scorers": ["shapes"]}
    values = list(client.submit(**asked, kept="attention", api_name="/bench"))
    last = values[-1]
    assert last["status"] == "complete"
    # What was told bit by bit is the whole.
    told = {key for value in values for key in value["changed"]}
    bench = library.benches.open(last["bench"]["id"])
    assert told == {cell.key for cell in bench.study.cells} == {"a-0-0", "a-0-1", "a-1-0", "a-1-1"}
    assert all(library.open(cell.run_id).attention(1) for cell in bench.study.cells)
    assert [cell.params.seed for cell in bench.study.cells] == [4, 5, 4, 5]
    lean = client.predict(**{**asked, "seed": 90}, kept="pictures", api_name="/bench")
    first = library.benches.open(lean["bench"]["id"]).study.cells[0]
    assert library.open(first.run_id).step(0).latents is None
    for wrong, field in (({"pack": "nothing"}, "pack"), ({"scorers": ["eye"]}, "scorers")):
        failed = client.predict(**{**asked, **wrong}, api_name="/bench")
        assert (failed["status"], failed["error"]["field"]) == ("failed", field)


def test_what_is_public_is_what_a_script_needs(client):
    public = client.view_api(return_format="dict")["named_endpoints"]
    assert set(public) == {
        "/trace", "/sweep", "/neighbourhood", "/attention", "/bench",
        "/search", "/run", "/run_steps", "/run_link", "/run_attention", "/models", "/backends",
    }  # fmt: skip
    assert [p["parameter_name"] for p in public["/trace"]["parameters"]] == [
        *INPUTS,
        "picture",
        "amount",
        "backend",
    ]


def test_every_argument_is_typed_and_described(client):
    public = client.view_api(return_format="dict")["named_endpoints"]
    for endpoint, told in public.items():
        assert told["description"]
        assert told["returns"][0]["type"]["description"]
        for parameter in told["parameters"]:
            schema = parameter["type"]
            where = f"{endpoint} {parameter['parameter_name']}"
            jsonschema.Draft202012Validator.check_schema(schema)
            assert schema["type"], where
            assert schema["description"], where
            if parameter["parameter_has_default"] and parameter["parameter_default"] is not None:
                assert jsonschema.Draft202012Validator(schema).is_valid(parameter["parameter_default"]), where
    arguments = {p["parameter_name"]: p["type"] for p in public["/trace"]["parameters"]}
    assert (arguments["steps"]["type"], arguments["steps"]["maximum"]) == ("integer", 1000)
    # What takes more than its form offers says so.
    assert "enum" not in arguments["size"]
    assert arguments["guidance_method"]["enum"][:2] == ["", "rescale"]


def test_kept_runs_are_found_and_read_by_a_script(client, library):
    run_id = client.predict(**{**INPUTS, "seed": 71, "steps": 3, "attention": "cross"}, api_name="/trace")[
        "run"
    ]["id"]
    found = client.predict(text="red", limit=1, api_name="/search")
    assert [one["id"] for one in found["runs"]] == [run_id]
    assert found["total"] == len(library.search("red").runs)
    told = client.predict(run_id, api_name="/run")
    assert (told["status"], told["asked"]["seed"], told["ran_on"]["device"]) == ("complete", "71", "cpu")
    assert httpx.get(told["image"]).status_code == httpx.get(told["app"]).status_code == 200
    steps = client.predict(run_id, api_name="/run_steps")["steps"]
    stored = library.load(run_id)
    assert [step["norm"] for step in steps[1:]] == pytest.approx(
        [float(np.linalg.norm(step.latents)) for step in stored.steps], rel=1e-6
    )
    words = client.predict(run_id, word="red", api_name="/run_attention")
    assert [len(words["words"]), len(words["words"][0]["activation"])] == [1, 3]
    for kind, begins in (("image", b"\x89PNG"), ("gif", b"GIF89a"), ("html", b"<!"), ("json", b"{")):
        url = client.predict(run_id, kind=kind, api_name="/run_link")["url"]
        assert httpx.get(url).content.startswith(begins)
    assert client.predict(api_name="/models")["models"][0]["id"] == "shapes"
    assert client.predict(api_name="/backends")["backends"][0]["name"] == "local"


@pytest.mark.parametrize(
    ("endpoint", "asked", "words"),
    [
        ("/run", {"run_id": "../../etc/passwd"}, "The library has no run"),
        ("/run_link", {"run_id": "x", "kind": "exe"}, "There is no link of the kind 'exe'"),
        ("/search", {"limit": 10**6}, "The limit is 1000000: give a whole number from 1 to 200."),
        ("/search", {"sort": "random()"}, "Runs cannot be sorted by 'random()'"),
        ("/models", {"backend": "nowhere"}, "nowhere"),
    ],
)
def test_a_script_is_told_what_is_wrong_in_one_sentence(client, endpoint, asked, words):
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError) as error:
        client.predict(**asked, api_name=endpoint)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
