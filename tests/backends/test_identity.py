"""What decides a result, known without loading."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from diffatlas.backends import loading, open_backend
from diffatlas.backends.base import Backend, IdentifiedBackend
from diffatlas.capture.spec import Capture
from diffatlas.operations.cache import cache_key
from diffatlas.params import GenerationParams
from diffatlas.run import collect

ROOT = Path(__file__).parents[2]


def fresh(**options):
    return open_backend("local", **{"device": "cpu", **options})


def identity(params, **options):
    backend = fresh(**options)
    return backend.identity(backend.resolve(params))


def leaves(value, prefix=""):
    for name, part in value.items():
        if isinstance(part, dict):
            yield from leaves(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", part


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3", "flux", "pixart"])
def test_it_is_what_a_run_stores(backend, folders, asked, name):
    """Before the model is loaded, while it is resident, and in the run itself."""
    for scheduler in (None, backend.info(str(folders(name))).schedulers[-1]):
        params = asked.replace(
            model=str(folders(name)), scheduler=scheduler, guidance_scale=4.0, num_inference_steps=2
        )
        before = identity(params)
        run = collect(backend.trace(params, Capture(predictions=False, x0=False))).raise_for_error()
        assert run.provenance["identity"] == before == backend.identity(run.params)
        assert json.loads(json.dumps(before)) == before
        assert backend.is_loaded(params.model)


def test_nothing_is_loaded_for_it(asked, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("The model was loaded.")

    monkeypatch.setattr(loading, "load", refuse)
    backend = fresh()
    found = backend.identity(backend.resolve(asked))
    assert len(found["revision"]["sha256"]) == 64
    assert found["scheduler"]["class"] == "DDIMScheduler"
    assert (found["dtype"], found["device"]) == ("fp32", "cpu")
    assert not backend.is_loaded(asked.model)


def test_each_thing_that_decides_shows(asked, sd_folder, tmp_path, monkeypatch):
    plain = identity(asked)

    def changed(other):
        theirs = dict(leaves(other))
        return {name for name, value in leaves(plain) if theirs.get(name) != value}

    assert changed(identity(asked)) == set()
    assert changed(identity(asked, dtype="bf16")) == {"dtype"}
    assert changed(identity(asked, device="meta")) >= {"device"}
    assert "scheduler.class" in changed(identity(asked.replace(scheduler="euler")))
    # The SDE is the same class under another algorithm.
    one, other = (identity(asked.replace(scheduler=name)) for name in ("dpm++_2m", "dpm++_2m_sde"))
    assert one["scheduler"]["class"] == other["scheduler"]["class"]
    assert one["scheduler"]["config"]["algorithm_type"] != other["scheduler"]["config"]["algorithm_type"]

    moved = tmp_path / "elsewhere"
    shutil.copytree(sd_folder, moved)
    assert changed(identity(asked.replace(model=str(moved)))) == set()  # a folder's name decides nothing
    weights = next((moved / "unet").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert changed(identity(asked.replace(model=str(moved)))) == {"revision.sha256"}

    monkeypatch.setattr("diffusers.__version__", "0.1")
    monkeypatch.setattr("transformers.__version__", "0.1")
    monkeypatch.setattr("torch.__version__", "0.1")
    monkeypatch.setattr("diffatlas.backends.identity.CAPTURE_FORMAT", 0)
    assert changed(identity(asked)) == {
        f"versions.{n}" for n in ("torch", "diffusers", "transformers", "capture")
    }


def test_it_names_no_path_and_no_time(asked, sd_folder):
    text = json.dumps(identity(asked.replace(scheduler="euler")))
    assert str(sd_folder) not in text
    assert sd_folder.name not in {value for _, value in leaves(json.loads(text))}
    # diffusers lists the defaults it took in the order of a set, which is another in each process.
    assert "_use_default_values" not in text


def test_a_model_that_changes_while_it_is_resident_is_still_the_one_that_runs(sd_folder, tmp_path, asked):
    folder = tmp_path / "model"
    shutil.copytree(sd_folder, folder)
    backend, params = fresh(), asked.replace(model=str(folder))
    backend.pipeline(params.model)
    before = backend.identity(backend.resolve(params))
    text = folder / "model_index.json"
    text.write_text(text.read_text() + "\n")
    run = collect(backend.trace(params)).raise_for_error()
    assert run.provenance["identity"]["revision"] == before["revision"]
    assert backend.identity(run.params) == run.provenance["identity"]
    # Another process would load the changed files.
    assert identity(params)["revision"] != before["revision"]


def test_a_tokenizer_of_sentencepiece_is_content(sd_folder, tmp_path, asked):
    folder = tmp_path / "model"
    shutil.copytree(sd_folder, folder)
    pieces = folder / "tokenizer" / "spiece.model"
    pieces.write_bytes(b"one")
    first = identity(asked.replace(model=str(folder)))
    pieces.write_bytes(b"two and more")
    assert identity(asked.replace(model=str(folder)))["revision"] != first["revision"]


def test_a_model_of_the_hub_before_and_after_it_is_here(sd_folder, tmp_path, monkeypatch, asked):
    registry = tmp_path / "models"
    registry.mkdir()
    (registry / "local.md").write_text("some/model | Some Model | dtype=bf16\n")
    monkeypatch.setenv("DIFFATLAS_MODELS", str(registry))
    params = asked.replace(model="some/model", width=None, height=None)
    assert fresh().resolve(params) == params
    assert fresh().identity(params) is None

    snapshot = tmp_path / "hub" / "snapshots" / "0123abcd"
    shutil.copytree(sd_folder, snapshot)
    monkeypatch.setattr("diffusers.DiffusionPipeline.download", lambda *args, **options: str(snapshot))
    backend = fresh()
    resolved = backend.resolve(params)
    assert (resolved.scheduler, resolved.width is None) == ("ddim", False)
    found = backend.identity(resolved)
    assert (found["model"], found["revision"]) == ("some/model", {"commit": "0123abcd"})


def test_who_has_an_identity():
    class Plain:
        name, capabilities = "plain", None

        def trace(self, params, capture=None, stop=None):
            yield

    assert isinstance(Plain(), Backend)
    assert not isinstance(Plain(), IdentifiedBackend)
    assert isinstance(fresh(), IdentifiedBackend)


def test_another_process_finds_the_same(tmp_path):
    """Under another seed of Python's hashes, in another folder."""
    code = (
        "from diffatlas import GenerationParams; from diffatlas.backends import open_backend;"
        "b = open_backend('local', device='cpu');"
        "p = b.resolve(GenerationParams(prompt='a red circle', scheduler='euler'));"
        "from diffatlas.operations.cache import cache_key;"
        "print(cache_key(p, b.identity(p)))"
    )
    params, backend = GenerationParams(prompt="a red circle", scheduler="euler"), fresh()
    resolved = backend.resolve(params)
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    key = cache_key(resolved, backend.identity(resolved))
    assert done.stdout.strip() == key
    assert len(key) == 64
