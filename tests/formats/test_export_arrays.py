import io
import json
import zipfile
from dataclasses import replace

import numpy as np

from diffatlas.formats.named import Named
from diffatlas.formats.tables import arrays


def load(runs):
    data = np.load(io.BytesIO(arrays.npz(runs)), allow_pickle=False)
    return data, json.loads(str(data["manifest"]))


def test_arrays_are_those_of_the_run(layers):
    data, manifest = load(layers)
    for entry, folder in zip(layers, ("first-layer", "second-layer"), strict=True):
        run = entry.run
        assert np.array_equal(data[f"{folder}/latents"], run.latents)
        assert data[f"{folder}/latents"].dtype == run.latents.dtype
        for name in ("x0_pred", "noise_pred"):
            assert np.array_equal(data[f"{folder}/{name}"], np.stack([getattr(s, name) for s in run.steps]))
        assert data[f"{folder}/timesteps"].tolist() == [s.timestep for s in run.steps]
        # Nothing changed the noise between two steps, so each began where the one before had ended.
        assert data[f"{folder}/sigmas_before"].tolist() == data[f"{folder}/sigmas"].tolist()[:-1]
        assert data[f"{folder}/sigmas"].tolist() == [run.initial_sigma, *(s.sigma for s in run.steps)]
    assert np.array_equal(data["first-layer/cond_pred"][3], layers[0].run.steps[3].cond_pred)
    assert "second-layer/cond_pred" not in data
    about = manifest["layers"][0]
    assert (about["name"], about["folder"]) == ("first layer", "first-layer")
    assert about["run"]["params"] == layers[0].run.params.to_dict()
    assert about["arrays"]["latents"] == {
        "shape": [6, 1, 4, 16, 16],
        "dtype": "float32",
        "steps": list(range(6)),
    }


def test_an_array_captured_at_some_steps_says_at_which(run):
    steps = tuple(s if s.index in (1, 3) else replace(s, cond_pred=None, uncond_pred=None) for s in run.steps)
    data, manifest = load([Named("a", replace(run, steps=steps))])
    assert manifest["layers"][0]["arrays"]["cond_pred"]["steps"] == [2, 4]
    assert np.array_equal(data["a/cond_pred"], np.stack([run.steps[1].cond_pred, run.steps[3].cond_pred]))


def test_members_are_safe_and_distinct(run):
    names = ["../../etc/passwd", "../../etc/passwd", "/", "日本", "a" * 300]
    data = arrays.npz([Named(name, run) for name in names])
    members = zipfile.ZipFile(io.BytesIO(data)).namelist()
    assert len(set(members)) == len(members)
    assert not any(name.startswith("/") or ".." in name for name in members)
    folders = {name.split("/")[0] for name in members} - {"manifest.npy"}
    assert folders == {"etc-passwd", "etc-passwd-2", "run", "run-2", "a" * 48}
    assert [layer["name"] for layer in load([Named(n, run) for n in names])[1]["layers"]] == names


def test_the_same_runs_give_the_same_bytes(layers):
    assert arrays.npz(layers) == arrays.npz(layers)


def test_half_precision_stays(run):
    steps = tuple(replace(s, latents=s.latents.astype(np.float16)) for s in run.steps)
    half = replace(run, initial_latents=run.initial_latents.astype(np.float16), steps=steps)
    data, _ = load([Named("a", half)])
    assert data["a/latents"].dtype == np.float16
    assert np.array_equal(data["a/latents"], half.latents)


def load_safetensors(runs, tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import load_file

    path = tmp_path / "x.safetensors"
    path.write_bytes(arrays.safetensors(runs))
    with safe_open(path, "numpy") as file:
        return load_file(path), json.loads(file.metadata()["manifest"])


def test_safetensors_hold_what_the_npz_holds(layers, tmp_path):
    tensors, manifest = load_safetensors(layers, tmp_path)
    data, theirs = load(layers)
    assert set(tensors) == set(data.files) - {"manifest"}
    for name, tensor in tensors.items():
        assert (tensor.dtype, tensor.shape) == (data[name].dtype, data[name].shape)
        assert tensor.tobytes() == data[name].tobytes()
    assert manifest == theirs


def test_safetensors_of_odd_runs(odd_runs, tmp_path):
    for name, run in odd_runs.items():
        tensors, manifest = load_safetensors([Named("日本 " + name, run)], tmp_path)
        assert manifest["layers"][0]["name"] == "日本 " + name
        folder = manifest["layers"][0]["folder"]
        assert tensors[f"{folder}/timesteps"].shape == (len(run.steps),)
        assert set(tensors) == {f"{folder}/{array}" for array in manifest["layers"][0]["arrays"]}


def test_the_same_runs_give_the_same_safetensors(layers):
    assert arrays.safetensors(layers) == arrays.safetensors(layers)
