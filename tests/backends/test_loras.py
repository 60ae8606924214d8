"""LoRAs: put on for one run, taken off after it, and what they are told by."""

from __future__ import annotations

import copy
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from diffatlas.backends import loras, open_backend
from diffatlas.capture.spec import Capture
from diffatlas.errors import CapabilityError, InvalidParams, ModelLoadError
from diffatlas.params import GenerationParams, Lora
from diffatlas.run import collect
from tests import pipelines

RANK, ALPHA = 4, 6


def write_lora(folder: Path, seed: int, text: bool = False, build: str = "sd") -> Path:
    """Write a LoRA of random weights for the attention of a small pipeline, as diffusers' training scripts do."""
    from peft import LoraConfig, get_peft_model_state_dict

    pipe = getattr(pipelines, f"build_{build}")()
    generator = torch.Generator().manual_seed(seed)
    state = {}

    def train(part, names):
        # The dropout is for training, and must not draw at random afterwards.
        config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=names, lora_dropout=0.5)
        network = getattr(pipe, part)
        network.add_adapter(config)
        layers = get_peft_model_state_dict(network)
        values = {name: torch.randn(old.shape, generator=generator) * 0.2 for name, old in layers.items()}
        state[f"{part}_lora_layers"] = values
        state[f"{part}_lora_adapter_metadata"] = config.to_dict()

    train("unet" if hasattr(pipe, "unet") else "transformer", ["to_q", "to_k", "to_v", "to_out.0"])
    if text:
        train("text_encoder", ["q_proj", "v_proj"])
    type(pipe).save_lora_weights(folder, **state)
    return folder / loras.USUAL


@pytest.fixture(scope="module")
def style(tmp_path_factory) -> Path:
    return write_lora(tmp_path_factory.mktemp("style"), 1).rename(
        tmp_path_factory.mktemp("x") / "style.safetensors"
    )


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    return write_lora(tmp_path_factory.mktemp("other"), 2, text=True)


def traced(backend, params, capture=None):
    return collect(backend.trace(params, capture or Capture())).raise_for_error()


def path_of(run):
    return np.stack([step.latents for step in run.steps])


def by_hand(pipe, *asked):
    """A copy of the pipeline whose weights have the LoRAs added: W + weight * alpha / rank * B A."""
    pipe = copy.deepcopy(pipe)
    for file, weight in asked:
        stored = load_file(file)
        for name in {key.rpartition(".lora_")[0] for key in stored}:
            part, _, place = name.partition(".")
            layer = getattr(pipe, part).get_submodule(place)
            with torch.no_grad():
                layer.weight += (
                    weight * ALPHA / RANK * stored[f"{name}.lora_B.weight"] @ stored[f"{name}.lora_A.weight"]
                )
    return pipe


def latents_of(pipe, params):
    return pipe(
        params.prompt,
        num_inference_steps=params.num_inference_steps,
        guidance_scale=params.guidance_scale,
        width=64,
        height=64,
        generator=torch.Generator().manual_seed(params.seed),
        output_type="latent",
    ).images.numpy()


def test_with_it_and_then_without_it_again(asked, style, other):
    backend = open_backend("local", device="cpu")
    plain = traced(backend, asked)
    pipe = backend.pipeline(asked.model)
    trained = [p.requires_grad for p in pipe.unet.parameters()]
    both = asked.replace(loras=(Lora(style, 0.7), Lora(other, -0.3)))
    run = traced(backend, both)
    assert not np.allclose(path_of(run), path_of(plain), atol=0.05)
    # The sum by hand is the same up to rounding.
    reference = latents_of(by_hand(pipe, (style, 0.7), (other, -0.3)), asked)
    assert np.allclose(run.steps[-1].latents, reference, atol=1e-3)
    assert np.array_equal(path_of(traced(backend, both)), path_of(run))
    again = traced(backend, asked)
    assert np.array_equal(path_of(again), path_of(plain))
    assert np.array_equal(again.images[0], plain.images[0])
    assert backend.pipeline(asked.model) is pipe
    assert [p.requires_grad for p in pipe.unet.parameters()] == trained
    assert not any("lora" in name for name, _ in pipe.unet.named_modules())
    assert not any("lora" in name for name, _ in pipe.text_encoder.named_modules())


def test_weight_0_is_without_it_to_the_bit(backend, asked, style, other):
    plain = traced(backend, asked)
    for loras_of in ((Lora(style, 0),), (Lora(style, 0.0), Lora(other, 0.0))):
        run = traced(backend, asked.replace(loras=loras_of))
        assert path_of(run).tobytes() == path_of(plain).tobytes()
    one = traced(backend, asked.replace(loras=(Lora(style),)))
    beside = traced(backend, asked.replace(loras=(Lora(other, 0), Lora(style))))
    assert path_of(one).tobytes() == path_of(beside).tobytes()


def test_content_and_weight_decide_and_the_path_does_not(backend, asked, style, other, tmp_path):
    params = asked.replace(loras=(Lora(style, 1),))
    run = traced(backend, params)
    identity = run.provenance["identity"]
    assert backend.identity(run.params) == identity
    assert [set(one) for one in identity["loras"]] == [{"sha256", "weight"}]
    assert set(identity["versions"]) >= {"peft"}
    moved = shutil.copy(style, tmp_path / "renamed.safetensors")
    assert backend.identity(run.params.replace(loras=(Lora(moved, 1.0),))) == identity
    assert backend.identity(run.params.replace(loras=(Lora(style, 0.5),))) != identity
    assert backend.identity(run.params.replace(loras=(Lora(other),))) != identity
    plain = backend.identity(run.params.replace(loras=()))
    assert "loras" not in plain
    assert "peft" not in plain["versions"]
    (told,) = run.provenance["loras"]
    assert (told["name"], told["weight"], told["sha256"]) == (
        "style.safetensors", 1.0, identity["loras"][0]["sha256"],
    )  # fmt: skip
    assert told["layers"] == sum(key.endswith("lora_A.weight") for key in load_file(style))
    assert str(style.parent) not in json.dumps(run.provenance)
    assert GenerationParams.from_dict(json.loads(json.dumps(run.params.to_dict()))) == run.params


def test_attention_is_read_under_it_by_the_same_names(backend, asked, style):
    capture = Capture(attention="all")
    plain = traced(backend, asked, capture)
    run = traced(backend, asked.replace(loras=(Lora(style),)), capture)
    names = list(plain.steps[0].attention)
    assert len(names) > 1
    assert list(run.steps[0].attention) == names
    described = [layer["name"] for layer in run.provenance["attention"]["layers"]]
    assert described == [layer["name"] for layer in plain.provenance["attention"]["layers"]]
    assert not any("base_layer" in name or "lora" in name for name in described)
    # The maps are those of the model with the LoRA, as a copy with the sum in its weights has them.
    from diffatlas.capture import observe

    pipe = by_hand(backend.pipeline(asked.model), (style, 1.0))
    with observe(pipe, capture) as trace:
        latents_of(pipe, asked)
    assert list(trace.steps[-1].attention) == names
    for name in names:
        assert np.allclose(run.steps[-1].attention[name], trace.steps[-1].attention[name], atol=1e-3)
    assert not np.allclose(run.steps[-1].attention[names[0]], plain.steps[-1].attention[names[0]], atol=1e-3)


def test_several_cells_of_one_call_run_under_it(backend, asked, style):
    params = asked.replace(loras=(Lora(style),))
    cells = [params, params.replace(seed=8)]
    alone = [traced(backend, cell) for cell in cells]
    steps = {0: [], 1: []}
    told = {}
    for index, event in backend.trace_batch(cells):
        if event.kind == "step":
            steps[index].append(event.latents)
        if event.kind == "started":
            told[index] = event.provenance["loras"]
    for index, run in enumerate(alone):
        assert np.allclose(np.stack(steps[index]), path_of(run), atol=1e-3)
        assert told[index] == run.provenance["loras"]
    with pytest.raises(InvalidParams, match="differ in loras"):
        backend.trace_batch([asked, params])
    with pytest.raises(InvalidParams, match="differ in loras"):
        backend.trace_batch([params, asked])


@pytest.mark.parametrize("end", ["stop", "close", "fail"])
def test_it_is_taken_off_however_the_run_ends(asked, style, end):
    backend = open_backend("local", device="cpu")
    plain = traced(backend, asked)
    pipe, stop = backend.pipeline(asked.model), threading.Event()

    def act(module, args):
        stop.set()
        if end == "fail":
            raise RuntimeError("the power went")

    hook = pipe.unet.register_forward_pre_hook(act)
    events = backend.trace(asked.replace(loras=(Lora(style),)), stop=stop if end == "stop" else None)
    if end == "close":
        next(events)
        events.close()
    else:
        assert list(events)[-1].kind == ("failed" if end == "fail" else "finished")
    hook.remove()
    assert backend.pipeline(asked.model) is pipe
    assert not any("lora" in name for name, _ in pipe.unet.named_modules())
    assert path_of(traced(backend, asked)).tobytes() == path_of(plain).tobytes()


def test_a_pipeline_that_did_not_come_back_is_loaded_anew(asked, style):
    backend = open_backend("local", device="cpu")
    plain = traced(backend, asked)
    pipe = backend.pipeline(asked.model)

    def write(module, args):
        with torch.no_grad():
            module.conv_in.weight.add_(1.0)

    hook = pipe.unet.register_forward_pre_hook(write)
    collect(backend.trace(asked.replace(loras=(Lora(style),))))
    hook.remove()
    assert backend.pipeline(asked.model) is not pipe
    assert path_of(traced(backend, asked)).tobytes() == path_of(plain).tobytes()


def test_one_of_another_model_is_refused(asked, style, folders, tmp_path, backend):
    def failed(params):
        with pytest.raises(ModelLoadError) as caught:
            collect(backend.trace(params))
        assert caught.value.field == "loras"
        assert "\n" not in str(caught.value)
        return str(caught.value)

    sd3 = write_lora(tmp_path / "sd3", 3, build="sd3")
    assert "fits nothing" in failed(asked.replace(loras=(Lora(sd3),)))
    # Layers of the same name and another size.
    wrong = tmp_path / "wrong.safetensors"
    save_file(
        {k: torch.zeros([2 * n if n > RANK else n for n in v.shape]) for k, v in load_file(style).items()},
        wrong,
    )
    assert "another model" in failed(asked.replace(loras=(Lora(style), Lora(wrong))))
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(style.read_bytes()[:200])
    assert "damaged" in failed(asked.replace(loras=(Lora(damaged),)))
    plain = traced(open_backend("local", device="cpu"), asked)
    assert path_of(traced(backend, asked)).tobytes() == path_of(plain).tobytes()


@pytest.mark.parametrize("name", ["sd3", "flux", "sdxl"])
def test_other_families(folders, asked, tmp_path, name):
    backend = open_backend("local", device="cpu")
    params = asked.replace(model=str(folders(name)), num_inference_steps=2)
    plain = traced(backend, params)
    lora = write_lora(tmp_path, 4, build=name)
    run = traced(backend, params.replace(loras=(Lora(lora),)))
    assert not np.allclose(path_of(run), path_of(plain), atol=1e-2)
    pipe = backend.pipeline(params.model)
    assert path_of(traced(backend, params)).tobytes() == path_of(plain).tobytes()
    assert backend.pipeline(params.model) is pipe


def test_what_is_wrong_is_said_before_anything_runs(asked, style, tmp_path, monkeypatch):
    backend = open_backend("local", device="cpu")

    def refused(lora, kind=InvalidParams):
        with pytest.raises(kind) as caught:
            backend.resolve(asked.replace(loras=(lora,)))
        assert caught.value.field == "loras"
        return str(caught.value)

    assert "no LoRA file" in refused(Lora(tmp_path / "none.safetensors"))
    assert "pickle" in refused(Lora(tmp_path / "old.bin"))
    assert "no .safetensors" in refused(Lora("just words"))
    assert "nan" in refused(Lora(style, float("nan")))
    folder = tmp_path / "two"
    folder.mkdir()
    for name in ("a", "b"):
        shutil.copy(style, folder / f"{name}.safetensors")
    assert "a.safetensors, b.safetensors" in refused(Lora(folder))
    (folder / "a.safetensors").unlink()
    assert loras.find(Lora(folder)) == folder / "b.safetensors"
    monkeypatch.setattr(loras, "find_spec", lambda name: None)
    assert 'pip install "diffatlas[lora]"' in refused(Lora(style), CapabilityError)
    assert not backend.is_loaded(asked.model)


def test_one_of_the_hub(asked, style, backend, monkeypatch):
    calls = []

    def fetched(repository, name, **options):
        calls.append((repository, name, options))
        if options.get("local_files_only"):
            raise FileNotFoundError(name)
        return str(style)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetched)
    params = asked.replace(loras=(Lora("user/style:a/b.safetensors", 0.5),))
    assert backend.identity(backend.resolve(params)) is None
    run = traced(backend, params)
    assert ("user/style", "a/b.safetensors", {}) in calls
    assert run.provenance["loras"][0]["name"] == "user/style:a/b.safetensors"
    here = traced(backend, asked.replace(loras=(Lora(style, 0.5),)))
    assert run.provenance["identity"] == here.provenance["identity"]
    assert path_of(run).tobytes() == path_of(here).tobytes()
    names = ["only.safetensors", "x.bin"]
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda self, name: names)
    traced(backend, asked.replace(loras=(Lora("user/style"),)))
    assert ("user/style", "only.safetensors", {}) in calls
    names.append("second.safetensors")
    with pytest.raises(InvalidParams, match=r"only\.safetensors, second\.safetensors"):
        traced(backend, asked.replace(loras=(Lora("user/style"),)))
    monkeypatch.undo()
    with pytest.raises(ModelLoadError, match="could not be fetched"):
        traced(backend, asked.replace(loras=(Lora("user/style:a.safetensors"),)))


def test_a_pipeline_with_adapters_of_its_own_is_told_by_them_and_keeps_them(style, other, tmp_path):
    from diffatlas import Library, observe
    from diffatlas.capture.digest import digest_of
    from diffatlas.capture.ran_on import adapters_of
    from diffatlas.operations.replay import replay

    pipe, digests = pipelines.build_sd(), []
    digests.append(digest_of(pipe))
    assert adapters_of(pipe) == {}
    pipe.load_lora_weights(str(style.parent), weight_name=style.name, adapter_name="style")
    with observe(pipe) as trace:
        pipe("a red circle", num_inference_steps=1, generator=torch.Generator().manual_seed(7))
    # As it comes, its dropout draws at random.
    assert "random numbers" in trace.run.provenance["missing"]["random_state"]
    pipe.unet.eval()
    for weight in (0.8, 0.3):
        pipe.set_adapters(["style"], [weight])
        digests.append(digest_of(pipe))
        assert adapters_of(pipe) == {"unet": {"style": weight}}
    assert len(set(digests)) == 3
    library, backend = Library(tmp_path), open_backend("local", pipe=pipe, name="mine")
    with observe(pipe, record=library) as trace:
        pipe("a red circle", num_inference_steps=3, generator=torch.Generator().manual_seed(7))
    assert trace.run.provenance["adapters"] == {"unet": {"style": 0.3}}
    *_, report = replay(library, trace.run.id, backend)
    assert (report.verdict, report.same_pipeline) == ("identical", True)
    params = GenerationParams(prompt="a red circle", num_inference_steps=3)
    with pytest.raises(CapabilityError, match="adapters of its own"):
        traced(backend, params.replace(loras=(Lora(str(other)),)))
    assert digest_of(pipe) == digests[-1]
    pipe.disable_lora()
    assert adapters_of(pipe) == {}
    assert digest_of(pipe) not in digests[1:]


def test_a_lora_is_put_on_a_pipeline_in_memory_for_one_run(style):
    from diffatlas.capture.digest import digest_of

    pipe = pipelines.build_sd()
    digest, backend = digest_of(pipe), open_backend("local", pipe=pipe)
    asked = GenerationParams(prompt="a red circle", num_inference_steps=3, seed=7)
    with_it = traced(backend, asked.replace(loras=(Lora(str(style), 0.8),)))
    assert digest_of(pipe) == digest
    np.testing.assert_allclose(
        path_of(with_it),
        path_of(traced(open_backend("local", pipe=by_hand(pipe, (style, 0.8))), asked)),
        atol=1e-4,
    )
    assert np.abs(path_of(with_it) - path_of(traced(backend, asked))).max() > 1e-3
