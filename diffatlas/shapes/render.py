"""Draw scenes: signed distances, antialiased, many at once, on any torch device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch

from diffatlas.shapes.scenes import BACKGROUNDS, COLORS, SHAPES, SIZE, Scene

#: Regular stars: number of points, and outer and inner radius in units of the object's radius. A triangle and
#: a square are the stars whose inner vertices lie on the chords (inner = outer * cos(pi / n)), a diamond is a star of
#: two points.
STARS = {
    "triangle": (3, 1.12, 0.56),
    "square": (4, 1.16, 1.16 * math.sqrt(0.5)),
    "star": (5, 1.18, 0.52),
    "diamond": (2, 1.22, 0.72),
}
#: Annuli: middle radius and half width, in units of the object's radius.
ANNULI = {"circle": (0.0, 0.95), "ring": (0.76, 0.24)}
#: A heart is a square on its tip with a disc on each of its upper sides: the square's diagonal and how far the tip
#: lies below the middle, in units of the object's radius.
HEART = (1.7, 0.94)
#: Distances are clipped here (pixels) where they serve as a latent channel.
CLIP = 6.0


@dataclass(frozen=True)
class Forms:
    """How each of M shapes is measured: the indices of the annuli, the stars and the hearts among them, and the
    numbers of each, (M, 3) with zeros where there are fewer."""

    annuli: torch.Tensor
    stars: torch.Tensor
    hearts: torch.Tensor
    numbers: torch.Tensor


@dataclass(frozen=True)
class Plan:
    """What N scenes of M objects hold, as arrays: all that `paint` needs.

    owner: the scene of each object, (M,). geometry: x, y, radius and turn, (M, 4). shapes, colors: indices from 1,
    (M,). paint (M, 3) and ground (N, 3): colours in [0, 1].
    """

    forms: Forms
    owner: torch.Tensor
    geometry: torch.Tensor
    shapes: torch.Tensor
    colors: torch.Tensor
    paint: torch.Tensor
    ground: torch.Tensor


def each_tensor(holder: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Return a data class of tensors and such data classes with every tensor changed."""
    found = {f.name: getattr(holder, f.name) for f in fields(holder)}
    changed = {
        name: change(v) if isinstance(v, torch.Tensor) else each_tensor(v, change)
        for name, v in found.items()
        if isinstance(v, torch.Tensor) or is_dataclass(v)
    }
    return replace(holder, **changed)


@dataclass(frozen=True)
class Drawing:
    """Images (N, 3, S, S) in [0, 1]; signed distance to the nearest edge (N, S, S) in pixels, inside negative;
    and per pixel the index of the shape and of the colour, 0 for the ground (N, S, S)."""

    images: torch.Tensor
    distance: torch.Tensor
    shape_map: torch.Tensor
    color_map: torch.Tensor


def forms_of(shapes: Sequence[str], dtype: torch.dtype = torch.float32) -> Forms:
    """Return how to measure these shapes."""
    numbers = [(*ANNULI[s], 0.0) if s in ANNULI else STARS.get(s, (0.0,) * 3) for s in shapes]

    def where(among: Any) -> torch.Tensor:
        return torch.tensor([i for i, s in enumerate(shapes) if s in among], dtype=torch.long)

    return Forms(where(ANNULI), where(STARS), where(("heart",)), torch.tensor(numbers, dtype=dtype))


def signed_distance(
    shape: Sequence[str],
    x: torch.Tensor,
    y: torch.Tensor,
    radius: torch.Tensor,
    turn: torch.Tensor,
    size: int = SIZE,
) -> torch.Tensor:
    """Signed distance in pixels to M shapes, (M, size, size); parameters are (M,) in pixels and radians."""
    return _distances(forms_of(shape, x.dtype), torch.stack([x, y, radius, turn], 1), size)


def _distances(forms: Forms, geometry: torch.Tensor, size: int) -> torch.Tensor:
    grid = torch.arange(size, device=geometry.device, dtype=geometry.dtype) + 0.5
    out = geometry.new_empty(len(geometry), size, size)
    kinds = ((forms.annuli, _annulus), (forms.stars, _star), (forms.hearts, _heart))
    for which, measure in kinds:
        if len(which):
            x, y, radius, turn = (v[:, None, None] for v in geometry[which].unbind(1))
            numbers = [v[:, None, None] for v in forms.numbers[which].unbind(1)]
            px, py = grid[None, None, :] - x, grid[None, :, None] - y
            out[which] = measure(px, py, radius, turn, *numbers)
    return out


def _length(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.sqrt(x * x + y * y + 1e-12)


def _annulus(px, py, radius, turn, middle, half, _):
    return (_length(px, py) - middle * radius).abs() - half * radius


def _star(px, py, radius, turn, n, outer, inner):
    """Distance to a regular star: fold the plane into half a point, then measure to one edge."""
    outer, inner = outer * radius, inner * radius
    half = math.pi / n
    # A square stands on a side (half a point of turn), the others on their feet.
    rest = turn + torch.where(n == 4, math.pi / 4, 0.0)
    rho, angle = _length(px, py), torch.atan2(px, -py) - rest
    folded = (torch.remainder(angle + half, 2 * half) - half).abs()
    qx, qy = rho * torch.cos(folded), rho * torch.sin(folded)
    # The edge runs from the tip (outer, 0) to the inner vertex b.
    bx, by = inner * torch.cos(half), inner * torch.sin(half)
    ex, ey = bx - outer, by
    wx, wy = qx - outer, qy
    along = ((wx * ex + wy * ey) / (ex * ex + ey * ey)).clamp(0, 1)
    dist = _length(wx - along * ex, wy - along * ey)
    outside = (wx * ey - wy * ex) > 0
    return torch.where(outside, dist, -dist)


def _heart(px, py, radius, turn, *_):
    """Distance to a heart: fold it along its axis, then measure to the arc or to the straight side.

    In units of the square's diagonal, upwards from the tip, the half heart has a side from (0, 0) to (1/2, 1/2) and
    an arc about (1/4, 3/4) from there to the cleft at (0, 1).
    """
    unit = HEART[0] * radius
    sine, cosine = torch.sin(turn), torch.cos(turn)
    x = ((px * cosine + py * sine) / unit).abs()
    y = (px * sine - py * cosine + HEART[1] * radius) / unit
    arc = _length(x - 0.25, y - 0.75) - math.sqrt(2) / 4
    along = ((x + y) / 2).clamp(min=0)
    side = torch.minimum(_length(x - along, y - along), _length(x, y - 1))
    return unit * torch.where(x + y > 1, arc, torch.where(x > y, side, -side))


def plan(scenes: Sequence[Scene], *, generator: torch.Generator | None = None, jitter: float = 8.0) -> Plan:
    """Lay out what `paint` is to draw. ``jitter`` is the standard deviation (of 255) by which each colour wanders; it
    needs a CPU ``generator``, or None for no wandering."""
    objects = [o for s in scenes for o in s.objects]
    paint = torch.tensor([COLORS[o.color] for o in objects], dtype=torch.float32)
    ground = torch.tensor([BACKGROUNDS[s.background] for s in scenes], dtype=torch.float32)
    if generator is not None:
        paint += jitter * torch.randn(paint.shape, generator=generator)
        ground += 0.3 * jitter * torch.randn(ground.shape, generator=generator)
    names = list(COLORS)
    return Plan(
        forms=forms_of([o.shape for o in objects]),
        owner=torch.tensor([i for i, s in enumerate(scenes) for _ in s.objects]),
        geometry=torch.tensor([(o.x, o.y, o.radius, o.turn) for o in objects]),
        shapes=torch.tensor([1 + SHAPES.index(o.shape) for o in objects]),
        colors=torch.tensor([1 + names.index(o.color) for o in objects]),
        paint=(paint / 255).clamp(0, 1),
        ground=(ground / 255).clamp(0, 1),
    )


def paint(plan: Plan, size: int = SIZE) -> Drawing:
    """Draw a plan on the device that it is on."""
    scale = torch.tensor([size / SIZE] * 3 + [1.0]).to(plan.geometry.device, non_blocking=True)
    sdf = _distances(plan.forms, plan.geometry * scale, size)
    n, owner = len(plan.ground), plan.owner
    images = plan.ground[:, :, None, None].expand(n, 3, size, size).clone()
    coverage = (0.5 - sdf).clamp(0, 1)[:, None]
    # Each pixel is blended once: no more than the tips of two objects ever touch, in one scene of 2,000.
    images.index_add_(0, owner, coverage * (plan.paint - plan.ground[owner])[:, :, None, None])
    distance = torch.full((n, size, size), 1e3, device=sdf.device)
    distance.scatter_reduce_(0, owner[:, None, None].expand_as(sdf), sdf, "amin")
    inside = (sdf < 0).long()
    maps = torch.zeros(2, n, size, size, dtype=torch.long, device=sdf.device)
    where = owner[:, None, None].expand_as(inside)
    for k, ids in enumerate((plan.shapes, plan.colors)):
        maps[k].scatter_reduce_(0, where, inside * ids[:, None, None], "amax")
    return Drawing(images.clamp(0, 1), distance, maps[0], maps[1])


def draw(
    scenes: Sequence[Scene],
    *,
    generator: torch.Generator | None = None,
    device: str | torch.device = "cpu",
    jitter: float = 8.0,
    size: int = SIZE,
) -> Drawing:
    """Draw N scenes: `plan`, then `paint` on ``device``."""
    laid_out = plan(scenes, generator=generator, jitter=jitter)
    return paint(each_tensor(laid_out, lambda x: x.to(device)), size)
