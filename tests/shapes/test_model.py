"""The embedded model as it is shipped, and the training that made it."""

import json
import math
import random

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest

from diffatlas.geometry.shares import wilson
from diffatlas.registry import models_folder
from diffatlas.shapes import EMBEDDED, grid
from diffatlas.shapes import train_denoiser as train_module
from diffatlas.shapes.data import SceneStream
from diffatlas.shapes.detect import detect
from diffatlas.shapes.evaluate import Protocol, evaluate, evaluate_in_processes, generate, table
from diffatlas.shapes.model import build_parts, build_pipeline, load_parts, save_pipeline
from diffatlas.shapes.scenes import sample_scene, vocabulary
from diffatlas.shapes.tasks import CATEGORIES, judge, sample_tasks
from diffatlas.shapes.tokenizer import build_tokenizer, token_ids
from diffatlas.shapes.train_denoiser import (
    CellReader,
    DenoiserTrainer,
    decay,
    load_checkpoint,
    save_checkpoint,
    train_denoiser,
)
from diffatlas.shapes.train_vae import vae_quality
from diffatlas.shapes.validate import validate
from tests.shapes.narrow import narrow, share_of_loss_after

SHIPPED = models_folder() / "shapes"


@pytest.fixture(scope="module")
def pipe():
    return build_pipeline(load_parts(SHIPPED))


@pytest.mark.parametrize(
    ("name", "pipeline", "files"),
    [("shapes", "StableDiffusionPipeline", 3), ("shapes-dit", "StableDiffusion3Pipeline", 5)],
)
def test_the_folder_is_a_whole_pipeline_in_fp16_of_15_mb_at_most(name, pipeline, files):
    from safetensors import safe_open

    folder = models_folder() / name
    assert name in EMBEDDED
    index = json.loads((folder / "model_index.json").read_text())
    assert index["_class_name"] == pipeline
    weights = list(folder.rglob("*.safetensors"))
    assert len(weights) == files
    for path in weights:
        with safe_open(path, "np") as tensors:
            dtypes = {tensors.get_slice(k).get_dtype() for k in tensors.keys()}  # noqa: SIM118
        assert dtypes <= {"F16", "I64"}, path
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < 15e6
    assert not [p for p in folder.rglob("*") if p.suffix in (".bin", ".pt", ".ckpt", ".pkl")]


def test_the_two_models_share_vae_and_words():
    """So that a difference between them is one of architecture."""
    vaes, words = [], []
    for name in EMBEDDED:
        folder = models_folder() / name
        vaes.append((folder / "vae/diffusion_pytorch_model.safetensors").read_bytes())
        words.append(json.loads((folder / "tokenizer/tokenizer.json").read_text())["model"])
    assert vaes[0] == vaes[1]
    assert words[0] == words[1]


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_plain_diffusers_call_on_its_card_works(name):
    import diffusers

    index = json.loads((models_folder() / name / "model_index.json").read_text())
    plain = getattr(diffusers, index["_class_name"]).from_pretrained(models_folder() / name)
    image = plain("a red circle", num_inference_steps=2, guidance_scale=3.0).images[0]
    assert image.size == (64, 64)


def test_every_word_of_the_grammar_is_one_token_and_any_text_is_accepted(pipe):
    for word in vocabulary():
        assert len(pipe.tokenizer.tokenize(word)) == 1, word
    strange = 'Ünïcode 猫 \U0001f600 <script> "quotes"\n\t' + 200 * "long "
    ids = token_ids(pipe.tokenizer, [strange, ""])
    assert ids.shape == (2, 24)
    assert pipe.tokenizer.unk_token_id not in pipe.tokenizer("猫 a", add_special_tokens=False).input_ids
    assert build_tokenizer().get_vocab() == pipe.tokenizer.get_vocab()


def test_the_vae_reads_and_draws_the_latents_that_its_card_describes(pipe):
    data = SceneStream(4321).batch(24)
    with torch.no_grad():
        read = pipe.vae.encode(data.images * 2 - 1).latent_dist.mode()
    assert float((read - data.latents).pow(2).mean()) < 0.03
    quality = vae_quality(pipe.vae, n=32, seed=5)
    assert quality["decode_psnr"] > 29
    assert quality["reconstruct_psnr"] > 28


def test_the_detector_reads_what_the_vae_draws(pipe):
    stream = SceneStream(77)
    rng = random.Random(77)
    scenes = [sample_scene(rng) for _ in range(100)]
    data = stream.batch(100)
    with torch.no_grad():
        drawn = pipe.vae.decode(data.latents).sample.clamp(-1, 1) / 2 + 0.5
    images = (drawn * 255).round().byte().permute(0, 2, 3, 1).numpy()
    same = [
        sorted((o.shape, o.color) for o in s.objects) == sorted((d.shape, d.color) for d in detect(i))
        for s, i in zip(scenes, images, strict=True)
    ]
    assert np.mean(same) >= 0.97


@pytest.mark.parametrize("name", EMBEDDED)
def test_easy_prompts_come_out_right(name):
    """A guard against shipping broken weights; the model card holds the measured table."""
    tasks = sample_tasks("colour", 6)
    pipe = build_pipeline(load_parts(models_folder() / name))
    images = generate(pipe, tasks, guidance=3.0, steps=8, seed=500)
    assert sum(judge(i, t).correct for i, t in zip(images, tasks, strict=True)) >= 4


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_card_says_what_was_measured(name):
    card = (models_folder() / name / "README.md").read_text()
    for category in CATEGORIES:
        assert f"\n| {category} | " in card
    for word in ("license: mit", "supervised by construction", "95% interval", "samples.webp"):
        assert word in card, word
    assert (models_folder() / name / "samples.webp").stat().st_size < 200_000


@pytest.mark.parametrize(("k", "n"), [(0, 10), (7, 10), (200, 200), (151, 200)])
def test_intervals_agree_with_scipy(k, n):
    expected = binomtest(k, n).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson(k / n, n), (expected.low, expected.high), atol=1e-6)
    assert table([]).count("\n") == 1


def _trainer(
    seed: int = 3, kind: str = "unet", rate: float = 1e-3, few: bool = False, **options
) -> DenoiserTrainer:
    torch.manual_seed(seed)
    parts = {**build_parts(kind), "vae": load_parts(SHIPPED)["vae"]}
    return DenoiserTrainer(narrow(parts) if few else parts, seed=seed, device="cpu", rate=rate, **options)


# Muon orthogonalises in bfloat16, which takes ten minutes in wide matrices on a CPU that has no instruction for it.
@pytest.mark.parametrize("options", [{"kind": "unet"}, {"kind": "dit", "muon": True}], ids=["unet", "dit"])
def test_training_lowers_the_loss_and_resumes_where_it_stopped(tmp_path, options):
    options = {**options, "few": True, "rate": 4e-2}
    trainer = _trainer(**options)
    muon = options.get("muon", False)
    assert [type(optimizer).__name__ for optimizer in trainer.optimizers] == ["AdamW", "Muon"][: 1 + muon]
    assert share_of_loss_after(trainer, 12) < 0.9
    save_checkpoint(trainer, tmp_path / "unet.pt", minutes=1.5)
    assert [p.name for p in tmp_path.iterdir()] == ["unet.pt"]

    other = _trainer(**{**options, "seed": 9})
    assert load_checkpoint(other, tmp_path / "unet.pt") == 1.5
    data = SceneStream(11).batch(8)
    for t in (trainer, other):
        t.noise.manual_seed(0)
        t.trained.eval()
    with torch.no_grad():
        assert trainer.loss(trainer.task(data))[0] == other.loss(other.task(data))[0]
    assert other.seen == trainer.seen == 4 * 12
    # The next step is the same, so what the optimizers remember is, too.
    for t in (trainer, other):
        t.noise.manual_seed(1)
        t.stream = SceneStream(12)
        t.step(8, 0.5)
    for a, b in zip(trainer.trained.parameters(), other.trained.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-7)


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_bfloat16_gives_nearly_the_same_loss_and_other_numbers(kind):
    data = SceneStream(11).batch(4)
    exact, coarse = _trainer(kind=kind), _trainer(kind=kind, bf16=True)
    with torch.no_grad():
        a, b = (float(t.loss(t.task(data))[0]) for t in (exact, coarse))
    assert a != b
    assert b == pytest.approx(a, rel=0.01)


def test_weights_are_told_of_whenever_the_scenes_have_doubled(monkeypatch):
    monkeypatch.setattr(train_module, "FIRST_KEPT", 6)
    trainer = _trainer()
    seen = []
    monkeypatch.setattr(trainer, "step", lambda batch, share: _count(trainer, batch))
    train_denoiser(trainer, minutes=0.02, batch=2, checkpoint=None, on_keep=lambda t: seen.append(t.seen))
    assert seen[:4] == [6, 12, 24, 48]
    assert seen[-1] == trainer.seen
    # A later process does not begin anew.
    later = []
    trainer.seen = 49
    train_denoiser(trainer, minutes=0.02, batch=1, checkpoint=None, on_keep=lambda t: later.append(t.seen))
    assert later[:2] == [96, 192]


def _count(trainer: DenoiserTrainer, batch: int) -> torch.Tensor:
    trainer.seen += batch
    return torch.ones(2)


def test_the_auxiliary_loss_leaves_no_trace_in_the_model(tmp_path):
    trainer = _trainer()
    trainer.step(4, 0.5)
    save_pipeline(trainer.averaged_parts(), tmp_path / "model")
    saved = load_parts(tmp_path / "model")
    names = set(dict(saved["unet"].named_parameters()))
    assert names == set(dict(build_parts()["unet"].named_parameters()))
    assert all(not b._forward_hooks for b in trainer.averaged_parts()["unet"].up_blocks)
    assert isinstance(trainer.reader, CellReader)


def test_v_prediction_target_matches_the_scheduler():
    """The loss of a perfect prediction is zero: the target is the scheduler's own velocity."""
    trainer = _trainer()
    data = SceneStream(2).batch(4)
    scheduler = trainer.parts["scheduler"]
    seen = {}

    def perfect(noisy, t, context, **_):
        a = scheduler.alphas_cumprod[t].sqrt()[:, None, None, None]
        s = (1 - scheduler.alphas_cumprod[t]).sqrt()[:, None, None, None]
        eps = torch.where(s > 0, (noisy - a * data.latents) / s.clamp(min=1e-8), 0)
        seen["t"] = t
        trainer.reader.features += [torch.zeros(4, 128, 8, 8), torch.zeros(4, 64, 16, 16)]
        return (scheduler.get_velocity(data.latents, eps, t),)

    trainer.parts["unet"] = perfect
    loss, cells, _ = trainer.loss(trainer.task(data))
    assert float(loss) < 1e-5
    # Heads that see nothing can do no better than their biases: finite, and no better than chance.
    assert math.isfinite(float(cells.detach()))
    assert len(seen["t"]) == 4


def test_half_of_the_timesteps_are_noisy_and_every_part_of_the_schedule_is_met():
    trainer = _trainer()
    t = 1000 * torch.cat([trainer.levels(32) for _ in range(50)])
    assert int(t.min()) >= 0
    assert int(t.max()) <= 999
    # Half of them uniform over [600, 1000), the others over [0, 1000).
    assert float((t >= 600).float().mean()) == pytest.approx(0.5 + 0.5 * 0.4, abs=0.02)
    for low in range(0, 600, 100):
        share = float(((t >= low) & (t < low + 100)).float().mean())
        assert share == pytest.approx(0.05, abs=0.01)


def test_learning_rate_holds_then_falls():
    assert decay(0.0) == decay(0.3) == 1
    assert decay(0.6) > decay(0.9) > decay(1.0)
    assert decay(1.0) == pytest.approx(0.02)


def test_validation_is_the_same_each_time_and_sees_a_trained_model():
    shipped = validate(load_parts(SHIPPED), n=16)
    again = validate(load_parts(SHIPPED), n=16)
    assert shipped == again
    # At the noisiest level hardly more than the caption is known.
    assert all(loss < 0.95 * blind for loss, blind in zip(shipped.losses, shipped.blind, strict=True))
    assert shipped.mean < 0.3
    fresh = validate(build_parts(), n=16)
    assert all(loss > 0.95 * blind for loss, blind in zip(fresh.losses, fresh.blind, strict=True))
    assert f"validation {shipped.mean:.4f}" in shipped.line()


def test_processes_share_an_evaluation_and_agree_with_one(pipe):
    protocol = Protocol(n=6, batch=4, steps=3, categories=("colour", "two"))
    alone = evaluate(pipe, protocol)
    assert [score.n for score in alone] == [6, 6]
    assert evaluate_in_processes(SHIPPED, protocol, processes=2) == alone


def test_the_grid_is_a_row_a_category(pipe, tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "STEPS", 2)
    monkeypatch.setattr(grid, "EACH", 2)
    grid.sample_grid(pipe, tmp_path / "grid.webp")
    with Image.open(tmp_path / "grid.webp") as sheet:
        assert sheet.size == (2 * 2 * 65, 2 * len(CATEGORIES) * 65)
