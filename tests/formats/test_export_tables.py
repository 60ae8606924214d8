import csv
import dataclasses
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffatlas.formats.named import Named
from diffatlas.formats.tables import runs as tables
from diffatlas.inputs import ImageInput
from diffatlas.params import GenerationParams, Lora, Noise


def rows(runs):
    return list(csv.DictReader(io.StringIO(tables.csv(runs).decode(), newline="")))


def strictly(data: bytes):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(data, parse_constant=refuse)


def test_csv_has_a_row_per_layer_and_state(layers):
    table = rows(layers)
    assert list(table[0]) == list(tables.COLUMNS)
    assert [row["step"] for row in table] == [str(k) for k in (*range(6), *range(11))]
    assert [row["layer"] for row in table] == ["first layer"] * 6 + ["second layer"] * 11
    assert {row["run"] for row in table[6:]} == {layers[1].run.id}


def test_csv_numbers_are_those_of_the_latents(layers):
    run = layers[0].run
    path = run.latents.astype(np.float64).reshape(6, -1)
    unit = path / np.linalg.norm(path, axis=1, keepdims=True)
    wanted = {
        "norm": np.linalg.norm(path, axis=1),
        "distance_to_end": np.linalg.norm(path - path[-1], axis=1),
        "cosine_to_start": unit @ unit[0],
        "cosine_to_end": unit @ unit[-1],
        "mean": path.mean(1),
        "std": path.std(1),
        "min": path.min(1),
        "max": path.max(1),
        "step_length": np.r_[np.nan, np.linalg.norm(np.diff(path, axis=0), axis=1)],
        "sigma": [run.initial_sigma, *(s.sigma for s in run.steps)],
        "sigma_before": [np.nan, run.initial_sigma, *(s.sigma for s in run.steps[:-1])],
        "timestep": [np.nan, *(s.timestep for s in run.steps)],
        "guidance_norm": [np.nan, *(np.linalg.norm(s.cond_pred - s.uncond_pred) for s in run.steps)],
    }
    table = rows(layers)[:6]
    for name, values in wanted.items():
        found = [float(row[name] or "nan") for row in table]
        np.testing.assert_allclose(found, values, rtol=1e-6, atol=1e-12, err_msg=name)
    # In full: the stored numbers come back to the last bit.
    assert [float(row["norm"]) for row in table[1:]] == [s.metrics["norm"] for s in run.steps]
    assert all(row["guidance_norm"] == row["guidance_angle"] == "" for row in rows(layers)[6:])


def test_metrics_that_were_not_stored_are_computed(layers):
    run = layers[0].run
    bare = replace(run, steps=tuple(replace(s, metrics={}) for s in run.steps))
    for found, stored in zip(rows([Named("a", bare)]), rows([Named("a", run)]), strict=True):
        for name in tables.COLUMNS[2 : tables.COLUMNS.index("model")]:
            assert bool(found[name]) == bool(stored[name]), name
            if found[name]:
                assert float(found[name]) == pytest.approx(float(stored[name]), rel=1e-12, abs=1e-12), name


def test_csv_carries_every_parameter(run):
    """Each field of a request is in a row, read back here from its cells."""
    inputs = (ImageInput("image", "ab" * 32, "RGB", 64, 64),)
    asked = GenerationParams(
        model="user/name", prompt="=a \n circle", negative_prompt="grey", seed=2**62, num_inference_steps=7,
        guidance_scale=7.25, width=64, height=96, scheduler="euler", num_images_per_prompt=2, variant="fp16",
        revision="main", subfolder="inner", loras=(Lora("user/ink", 0.5),), guidance_method="apg",
        guidance_options={"eta": 0.5}, noise=Noise("perturb", 4, 0.27, 3), extra={"strength": 0.6}, inputs=inputs,
    )  # fmt: skip
    fields = {field.name for field in dataclasses.fields(GenerationParams)}
    assert fields - set(tables.ASKED) == {"noise"}
    row = rows([Named("a", replace(run, params=asked))])[3]
    assert all(row[name] for name in tables.ASKED)
    for name in fields - {"noise", "loras", "guidance_options", "extra", "inputs", "prompt"}:
        assert row[name] == str(getattr(asked, name)), name
    assert row["prompt"] == "'=a circle"
    kind, seed, amount, step = (row[f"noise_{name}"] for name in ("kind", "seed", "amount", "step"))
    assert Noise(kind, int(seed), float(amount), int(step)) == asked.noise
    assert (row["loras"], row["guidance_options"]) == ("user/ink at 0.5", "eta=0.5")
    assert (json.loads(row["extra"]), row["inputs"]) == (asked.extra, f"image {inputs[0].sha256}")
    plain = rows([Named("a", run)])[0]
    assert (plain["loras"], plain["noise_seed"], plain["seed"]) == ("", "", str(run.params.seed))


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r\n=1", "\u202e=1", "＝1"])
def test_a_name_is_never_a_formula(run, name):
    cell = rows([Named(name, run)])[0]["layer"]
    assert cell.startswith("'")
    assert cell[1:].endswith(name.strip()[-1])


def test_csv_holds_any_name(run):
    name = 'a "quoted", name; with\nlines \ud800 and 日本'
    assert rows([Named(name, run)])[0]["layer"] == 'a "quoted", name; with lines \ufffd and 日本'


def test_json_says_what_was_asked_and_what_it_ran_on(layers):
    data = strictly(tables.json(layers))
    assert [layer["name"] for layer in data["layers"]] == ["first layer", "second layer"]
    assert data["layers"][1]["colour"] == "#2f7cb5"
    found, run = data["layers"][0], layers[0].run
    assert found["run"]["params"] == run.params.to_dict()
    assert found["run"]["provenance"]["revision"] == run.provenance["revision"]
    assert found["run"]["latent_shape"] == [4, 16, 16]
    assert [s["step"] for s in found["steps"]] == list(range(6))
    assert found["steps"][3]["norm"] == run.steps[2].metrics["norm"]
    assert found["steps"][0]["timestep"] is None


def test_json_totals_are_those_of_the_path(layers):
    for layer, entry in zip(strictly(tables.json(layers))["layers"], layers, strict=True):
        path = entry.run.latents.astype(np.float64).reshape(len(entry.run.steps) + 1, -1)
        moves = np.diff(path, axis=0)
        lengths = np.linalg.norm(moves, axis=1)
        turns = np.degrees(np.arccos((moves[1:] * moves[:-1]).sum(1) / (lengths[1:] * lengths[:-1])))
        values = np.linalg.svd(path - path.mean(0), compute_uv=False) ** 2
        found = layer["totals"]
        assert found["path_length"] == pytest.approx(lengths.sum())
        assert found["chord"] == pytest.approx(np.linalg.norm(path[-1] - path[0]))
        assert found["straightness"] == pytest.approx(found["chord"] / found["path_length"])
        assert found["mean_curvature"] == pytest.approx(turns.mean(), rel=1e-5)
        assert found["dimensions_95"] == 1 + int((values.cumsum() / values.sum() < 0.95).sum())


def test_json_is_strict_whatever_the_run_holds(odd_runs, run):
    for name, odd in odd_runs.items():
        assert strictly(tables.json([Named(name, odd)]))["layers"][0]["name"] == name
    found = strictly(tables.json([Named("a", odd_runs["not finite"])]))["layers"][0]
    assert found["steps"][3]["norm"] is None
    assert found["steps"][3]["sigma"] is None
    assert found["totals"]["path_length"] is None
    surrogate = replace(run, params=run.params.replace(prompt="a \ud800 b"))
    assert (
        strictly(tables.json([Named("a", surrogate)]))["layers"][0]["run"]["params"]["prompt"] == "a \ud800 b"
    )


def test_pandas_reads_the_numbers_and_their_units(layers):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(io.BytesIO(tables.csv(layers)))
    path = layers[0].run.latents.astype(np.float64).reshape(6, -1)
    np.testing.assert_allclose(frame["norm"][:6], np.linalg.norm(path, axis=1), rtol=1e-6)
    (text,) = set(frame["units"])
    units = dict(entry.split("=") for entry in text.split("; "))
    assert units["guidance_angle"] == "degrees"
    assert (units["width"], units["norm"]) == ("pixels", "latent units")
    numbers = [
        name for name in frame if pandas.api.types.is_numeric_dtype(frame[name]) and frame[name].notna().any()
    ]
    assert set(numbers) <= set(units) <= set(frame)
    assert "norm" in numbers


WORDS = st.text(min_size=1, max_size=20).filter(str.strip)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_table_holds_what_was_asked_and_what_the_run_holds(run, data):
    asked = GenerationParams(
        prompt=data.draw(WORDS), negative_prompt=data.draw(st.text(max_size=20)),
        seed=data.draw(st.integers(0, 2**63 - 1)), guidance_scale=data.draw(st.floats(0, 100)),
        num_inference_steps=data.draw(st.integers(1, 1000)), scheduler=data.draw(st.sampled_from([None, "ddim"])),
        noise=data.draw(st.sampled_from([None, Noise("perturb", 4, 0.27, 3), Noise("slerp", 2**62, 1.0)])),
        extra=data.draw(st.dictionaries(st.sampled_from(["eta", "strength"]), st.floats(0, 1), max_size=2)) or None,
    )  # fmt: skip
    number = st.floats(allow_nan=True, allow_infinity=True)
    steps = tuple(
        replace(
            step, sigma=data.draw(st.none() | number), metrics={**step.metrics, "norm": data.draw(number)}
        )
        for step in run.steps
    )
    given_run = replace(run, params=asked, steps=steps)
    found, layer = rows([Named("a", given_run)]), strictly(tables.json([Named("a", given_run)]))["layers"][0]
    assert GenerationParams.from_dict(layer["run"]["params"]) == asked
    for row, told, step in zip(found[1:], layer["steps"][1:], steps, strict=True):
        for name, value in (("sigma", step.sigma), ("norm", step.metrics["norm"])):
            known = value is not None and math.isfinite(value)
            assert told[name] == (value if known else None)
            # What is not finite is spelled as pandas and NumPy read it.
            assert row[name] == ("" if value is None else repr(float(value)))
        assert (int(row["seed"]), float(row["guidance_scale"])) == (asked.seed, asked.guidance_scale)
        assert int(row["num_inference_steps"]) == asked.num_inference_steps
        assert row["scheduler"] == (asked.scheduler or "")
        assert json.loads(row["extra"] or "null") == asked.extra
        noise = [row[f"noise_{name}"] for name in ("kind", "seed", "amount", "step")]
        assert noise == (
            ["", "", "", ""]
            if asked.noise is None
            else [asked.noise.kind, str(asked.noise.seed), repr(asked.noise.amount), str(asked.noise.step)]
        )
