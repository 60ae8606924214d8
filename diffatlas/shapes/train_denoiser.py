"""Train a denoiser and its text encoders together on fresh scenes."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from diffusers.models.attention_processor import AttnProcessor
from torch import nn

from diffatlas.shapes.data import Batch, SceneStream
from diffatlas.shapes.latents import is_learned
from diffatlas.shapes.model import DIT_LAYERS, PATCH, TRAINED, kind_of
from diffatlas.shapes.predict import conditioning, count_zero_tokens, ids_of, predict, spoil
from diffatlas.shapes.replay import recorded
from diffatlas.shapes.scenes import COLORS, SHAPES
from diffatlas.shapes.train_text import CaptionReader

CAPTION_DROP = 0.12
#: The distance channel of `latents.encode` tells the shape, and is weighted more; of a learned space all are equal.
CHANNEL_WEIGHTS = (1.0, 1.0, 1.0, 2.0)
#: Weights of the auxiliary losses (see `CellReader`, `CaptionReader`).
CELL_WEIGHT, CAPTION_WEIGHT = 0.15, 0.03
#: The layout, and colours that no caption names, are settled while little is visible: half of the levels are drawn
#: from the noisiest part.
NOISY_SHARE, NOISY_FROM = 0.5, 0.6
#: Scenes after which the weights are first kept, to be looked at beside later ones.
FIRST_KEPT = 5_000
#: Blocks of "dit" whose features are read, from 0.
READ_BLOCKS = (DIT_LAYERS // 2, DIT_LAYERS - 2)


class Task(NamedTuple):
    """What a step is to learn: latents spoiled, what is to be predicted of them, and the levels (`predict.spoil`);
    the captions' token ids and slots as in `data.Planned`, of dropped captions -100; and the cells of `data.Batch`."""

    noisy: torch.Tensor
    target: torch.Tensor
    timesteps: torch.Tensor
    ids: torch.Tensor
    slots: torch.Tensor
    shape_cells: torch.Tensor
    color_cells: torch.Tensor


class CellReader(nn.Module):
    """Reads from the denoiser's features which shape and which colour each cell will hold.

    The mean squared error of a latent says little about which of two similar shapes belongs in a place; a
    cross-entropy does. The heads only shape the features while training (in the spirit of representation
    alignment, Yu et al. 2024, arXiv 2410.06940) and are not part of the model. Of "unet" they read two blocks of the
    decoder, of "dit" the image's tokens after `READ_BLOCKS`.
    """

    def __init__(self, parts: dict[str, Any]) -> None:
        super().__init__()
        self.features: list[torch.Tensor] = []
        if kind_of(parts) == "unet":
            widths = parts["unet"].config.block_out_channels[-1:-3:-1]
            for block in parts["unet"].up_blocks[:2]:
                block.register_forward_hook(lambda _m, _a, out: self.features.append(out))
        else:
            transformer = parts["transformer"]
            side = transformer.config.sample_size // PATCH
            widths = [transformer.inner_dim] * len(READ_BLOCKS)
            for number in READ_BLOCKS:
                transformer.transformer_blocks[number].register_forward_hook(
                    lambda _m, _a, out: self.features.append(
                        out[1].transpose(1, 2).unflatten(2, (side, side))
                    )
                )
        classes = 2 + len(SHAPES) + len(COLORS)
        self.heads = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in widths)

    def loss(self, task: Task) -> torch.Tensor:
        """Cross-entropy of shape and colour per cell, mean over what is read; clears the features."""
        total = torch.zeros((), device=task.noisy.device)
        for head, feature in zip(self.heads, self.features, strict=True):
            shape, color = head(feature.float()).split([1 + len(SHAPES), 1 + len(COLORS)], 1)
            stride = task.shape_cells.shape[-1] // feature.shape[-1]
            where = slice(stride // 2, None, stride)
            total = total + F.cross_entropy(shape, task.shape_cells[:, where, where])
            total = total + F.cross_entropy(color, task.color_cells[:, where, where])
        self.features.clear()
        return total / len(self.heads)


class DenoiserTrainer:
    """State of the training: the trained modules, their moving average, the optimizer, the data.

    ``rank`` and ``world`` share the work between processes: each draws its own scenes and the gradients are
    averaged. ``bf16`` computes matrix products in bfloat16; ``compiled`` compiles the denoiser (minutes, once);
    ``muon`` takes orthogonalised steps in the matrices of the denoiser's blocks (Jordan et al. 2024), of the size that
    AdamW's have (Liu et al. 2025, arXiv 2502.16982), and AdamW's elsewhere;
    ``workers`` processes lay the scenes out ahead (`SceneStream`); ``replayed`` launches a step's kernels on a GPU at
    once (`replay.recorded`), all batches then being of one size. A step never waits for a GPU.
    """

    def __init__(
        self,
        parts: dict[str, Any],
        *,
        seed: int,
        device: str,
        rate: float,
        rank: int = 0,
        world: int = 1,
        bf16: bool = False,
        compiled: bool = False,
        muon: bool = False,
        workers: int = 0,
        replayed: bool = False,
    ) -> None:
        self.parts, self.device, self.rate, self.rank, self.world = parts, device, rate, rank, world
        self.bf16 = bf16
        self.kind = kind_of(parts)
        self.trained = nn.ModuleDict({name: parts[name].train().to(device) for name in TRAINED[self.kind]})
        self.average = copy.deepcopy(self.trained).requires_grad_(False)
        on_cpu = torch.device(device).type == "cpu"
        for name in TRAINED[self.kind][1:]:
            # Of so few tokens, the fused kernel's backward on a CPU is slower than the product written out.
            parts[name].set_attn_implementation("eager" if on_cpu else "sdpa")
        if self.kind == "dit":
            count_zero_tokens(parts["transformer"])
        elif bf16:
            # In bfloat16 the fused kernel doubles the cost of a step.
            parts["unet"].set_attn_processor(AttnProcessor())
        self.reader = CellReader(parts).to(device)
        if compiled:
            parts[TRAINED[self.kind][0]].compile()
        width = sum(self.trained[name].config.hidden_size for name in TRAINED[self.kind][1:])
        self.caption_reader = CaptionReader(width).to(device)
        self.readers = nn.ModuleDict({"cells": self.reader, "captions": self.caption_reader})
        self.parameters = [*self.trained.parameters(), *self.readers.parameters()]
        if world > 1:
            for p in [*self.parameters, *parts["vae"].parameters()]:
                dist.broadcast(p.data, 0)
        self.optimizers = self._optimizers(muon)
        learned = is_learned(parts["vae"])
        self.vae = parts["vae"].to(device) if learned else None
        self.stream = SceneStream(seed * 1000 + rank, device, self.vae, workers)
        self.noise = torch.Generator(device=device).manual_seed(seed * 1000 + rank)
        self.weights = torch.tensor((1.0,) * 4 if learned else CHANNEL_WEIGHTS, device=device)[:, None, None]
        self.empty = ids_of(parts, [""], device)
        self.replayed = replayed
        self.learn: Callable[..., torch.Tensor] | None = None
        self.steps = 0
        self.seen = 0

    def _optimizers(self, muon: bool) -> list[torch.optim.Optimizer]:
        denoiser = self.trained[TRAINED[self.kind][0]]
        matrices = (
            [p for name, p in denoiser.named_parameters() if "block" in name and p.ndim == 2] if muon else []
        )
        taken = {id(p) for p in matrices}
        rest = [p for p in self.parameters if id(p) not in taken]
        decayed = {"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.01}
        plain = {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0}
        adamw = torch.optim.AdamW([decayed, plain], lr=self.rate, betas=(0.9, 0.99), fused=True)
        if not matrices:
            return [adamw]
        return [
            adamw,
            torch.optim.Muon(matrices, lr=self.rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        ]

    def step(self, batch: int, share: float) -> torch.Tensor:
        """One optimizer step on ``batch`` scenes a process; return the squared error and the cells' loss, (2,).

        ``share`` is the part of the training time that is spent, 0 to 1.
        """
        task = self.task(self.stream.batch(batch))
        if self.learn is None:
            self.learn = recorded(self.gradients, task) if self.replayed else self.gradients
        losses = self.learn(*task).clone()
        if self.world > 1:
            self._average_gradients()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate * min(1.0, (self.steps + 1) / 100) * decay(share)
            optimizer.step()
        self.steps += 1
        self.seen += batch * self.world
        # The average's memory grows to about 700 steps.
        self._update_average(min(0.9985, (1 + self.steps) / (10 + self.steps)))
        return losses

    def task(self, data: Batch) -> Task:
        """Drop some of the captions and spoil the latents."""
        n = len(data.ids)
        dropped = torch.rand(n, generator=self.noise, device=self.device) < CAPTION_DROP
        levels = self.levels(n)
        noise = torch.randn(data.latents.shape, generator=self.noise, device=self.device)
        return Task(
            *spoil(self.parts, data.latents, noise, levels),
            torch.where(dropped[:, None], self.empty, data.ids),
            torch.where(dropped[:, None], -100, data.slots),
            data.shape_cells,
            data.color_cells,
        )

    def loss(self, task: Task) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The weighted squared error of the prediction (`predict.spoil`), the cells' and the captions' loss."""
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.bf16):
            told = conditioning(self.parts, task.ids)
            predicted = predict(self.parts, task.noisy, task.timesteps, told)
        loss = (self.weights * (predicted.float() - task.target) ** 2).mean()
        # Of "dit" the last token is one of the zeros.
        captions, _ = self.caption_reader(told.context[:, : task.ids.shape[1]], task.slots)
        return loss, self.reader.loss(task), captions

    def gradients(self, *task: torch.Tensor) -> torch.Tensor:
        """Leave the gradients of the sum of the losses; return the squared error and the cells' loss, (2,)."""
        for p in self.parameters:
            p.grad = None
        loss, cells, captions = self.loss(Task(*task))
        (loss + CELL_WEIGHT * cells + CAPTION_WEIGHT * captions).backward()
        return torch.stack([loss, cells]).detach()

    def levels(self, n: int) -> torch.Tensor:
        """Noise levels of a batch in [0, 1), (n,): stratified, so that each part is met in every batch."""
        noisy = round(n * NOISY_SHARE)
        draw = torch.rand(n, generator=self.noise, device=self.device)
        place = torch.arange(n, device=self.device)
        anywhere = (place + draw) / (n - noisy)
        high = NOISY_FROM + (1 - NOISY_FROM) * (place - (n - noisy) + draw) / noisy
        return torch.where(place < n - noisy, anywhere, high)

    def _average_gradients(self) -> None:
        grads = [p.grad for p in self.parameters if p.grad is not None]
        flat = torch._utils._flatten_dense_tensors(grads)
        dist.all_reduce(flat)
        flat /= self.world
        for grad, mean in zip(grads, torch._utils._unflatten_dense_tensors(flat, grads), strict=True):
            grad.copy_(mean)

    @torch.no_grad()
    def _update_average(self, keep: float) -> None:
        torch._foreach_lerp_(list(self.average.parameters()), list(self.trained.parameters()), 1 - keep)

    def averaged_parts(self) -> dict[str, Any]:
        """The pipeline's parts with the averaged weights, on the CPU."""
        mean = copy.deepcopy(self.average).to("cpu").eval()
        return {**self.parts, **dict(mean.items())}

    def state(self) -> dict[str, Any]:
        """Everything that a later process needs to go on exactly as this one would, but for the data."""
        return {
            "trained": self.trained.state_dict(),
            "average": self.average.state_dict(),
            "readers": self.readers.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "steps": self.steps,
            "seen": self.seen,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave; fresh scenes are drawn from a seed moved on by the steps done."""
        self.trained.load_state_dict(state["trained"])
        self.average.load_state_dict(state["average"])
        self.readers.load_state_dict(state["readers"])
        for optimizer, held in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(held)
        self.steps, self.seen = state["steps"], state["seen"]
        self.stream = SceneStream(
            self.stream.rng.randrange(2**31) + 7919 * self.steps + self.rank,
            self.device,
            self.vae,
            self.stream.workers,
        )


def decay(share: float) -> float:
    """The learning rate's factor: 1 for the first 40% of the time, then half a cosine down to 0.02."""
    if share < 0.4:
        return 1.0
    x = min(1.0, (share - 0.4) / 0.6)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * x))


def train_denoiser(
    trainer: DenoiserTrainer,
    *,
    minutes: float,
    batch: int,
    checkpoint: Path | None,
    save_every: float = 5.0,
    progress: Callable[[float, str], None] | None = None,
    spent_before: float = 0.0,
    on_save: Callable[[DenoiserTrainer], None] | None = None,
    on_keep: Callable[[DenoiserTrainer], None] | None = None,
) -> None:
    """Train for ``minutes`` of wall time in all, of which ``spent_before`` were spent by an earlier process.

    ``checkpoint`` is written, and ``on_save`` called, every ``save_every`` minutes and at the end; ``on_keep`` is
    called whenever the scenes seen have doubled, from `FIRST_KEPT` on, and at the end.
    """
    start = time.monotonic() - spent_before * 60
    saved = time.monotonic()
    doubled = FIRST_KEPT
    while doubled <= trainer.seen:
        doubled *= 2
    smooth = torch.tensor([])
    while True:
        share = torch.tensor((time.monotonic() - start) / 60 / minutes)
        if trainer.world > 1:
            dist.broadcast(share, 0)
        if share >= 1:
            break
        losses = trainer.step(batch, float(share))
        smooth = smooth.lerp(losses, 0.01) if len(smooth) else losses
        if trainer.rank == 0:
            if progress and trainer.steps % 10 == 0:
                error, cells = smooth.tolist()
                progress(
                    float(share),
                    f"{trainer.kind} {trainer.seen:,} scenes  loss {error:.4f}  cells {cells:.4f}",
                )
            if trainer.seen >= doubled:
                doubled *= 2
                if on_keep:
                    on_keep(trainer)
            if checkpoint and time.monotonic() - saved > save_every * 60:
                save_checkpoint(trainer, checkpoint, (time.monotonic() - start) / 60)
                if on_save:
                    on_save(trainer)
                saved = time.monotonic()
    if trainer.rank == 0 and checkpoint:
        save_checkpoint(trainer, checkpoint, minutes)
        if on_save:
            on_save(trainer)
    if trainer.rank == 0 and on_keep:
        on_keep(trainer)


def save_checkpoint(trainer: DenoiserTrainer, path: Path, minutes: float) -> None:
    """Replace the checkpoint atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save({**trainer.state(), "minutes": minutes}, part)
    part.replace(path)


def load_checkpoint(trainer: DenoiserTrainer, path: Path) -> float:
    """Take up a checkpoint; return the minutes of training that it holds."""
    state = torch.load(path, map_location=trainer.device, weights_only=True)
    minutes = state.pop("minutes")
    trainer.load_state(state)
    return minutes
