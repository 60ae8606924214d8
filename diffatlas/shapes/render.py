"""Draw scenes: signed distances, antialiased, many at once, on any torch device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from diffatlas.shapes.scenes import BACKGROUNDS, COLORS, SHAPES, SIZE, Scene

#: Regular stars: number of points, and outer and inner radius in units of the object's radius. A triangle and
#: a square are the stars whose inner vertices lie on the chords (inner = outer * cos(pi / n)).
STARS = {"triangle": (3, 1.12, 0.56), "square": (4, 1.16, 1.16 * math.sqrt(0.5)), "star": (5, 1.18, 0.52)}
#: Annuli: middle radius and half width, in units of the object's radius.
ANNULI = {"circle": (0.0, 0.95), "ring": (0.76, 0.24)}
#: Distances are clipped here (pixels) where they serve as a latent channel.
CLIP = 6.0


@dataclass(frozen=True)
class Drawing:
    """Images (N, 3, S, S) in [0, 1]; signed distance to the nearest edge (N, S, S) in pixels, inside negative;
    and per pixel the index of the shape and of the colour, 0 for the ground (N, S, S)."""

    images: torch.Tensor
    distance: torch.Tensor
    shape_map: torch.Tensor
    color_map: torch.Tensor


def signed_distance(
    shape: Sequence[str],
    x: torch.Tensor,
    y: torch.Tensor,
    radius: torch.Tensor,
    turn: torch.Tensor,
    size: int = SIZE,
) -> torch.Tensor:
    """Signed distance in pixels to M shapes, (M, size, size); parameters are (M,) in pixels and radians."""
    grid = torch.arange(size, device=x.device, dtype=x.dtype) + 0.5
    px = grid[None, None, :] - x[:, None, None]
    py = grid[None, :, None] - y[:, None, None]
    rho = torch.sqrt(px * px + py * py + 1e-12)
    out = torch.empty_like(rho)
    annular = torch.tensor([s in ANNULI for s in shape], device=x.device)
    if annular.any():
        ring = torch.tensor([ANNULI.get(s, (0, 0)) for s in shape], device=x.device, dtype=x.dtype)[annular]
        r = radius[annular]
        middle, half = (ring[:, 0] * r)[:, None, None], (ring[:, 1] * r)[:, None, None]
        out[annular] = (rho[annular] - middle).abs() - half
    if not annular.all():
        star = ~annular
        spec = torch.tensor([STARS.get(s, (1, 0, 0)) for s in shape], device=x.device, dtype=x.dtype)[star]
        out[star] = _star_distance(px[star], py[star], rho[star], spec, radius[star], turn[star])
    return out


def _star_distance(px, py, rho, spec, radius, turn):
    """Distance to a regular star: fold the plane into half a point, then measure to one edge."""
    n, outer, inner = (spec[:, 0], spec[:, 1] * radius, spec[:, 2] * radius)
    half = (math.pi / n)[:, None, None]
    # A square stands on a side (half a point of turn), the others on their feet.
    rest = turn + torch.where(n == 4, math.pi / 4, 0.0)
    angle = torch.atan2(px, -py) - rest[:, None, None]
    folded = (torch.remainder(angle + half, 2 * half) - half).abs()
    qx, qy = rho * torch.cos(folded), rho * torch.sin(folded)
    # The edge runs from the tip a = (outer, 0) to the inner vertex b.
    ax = outer[:, None, None]
    bx, by = inner[:, None, None] * torch.cos(half), inner[:, None, None] * torch.sin(half)
    ex, ey = bx - ax, by
    wx, wy = qx - ax, qy
    along = ((wx * ex + wy * ey) / (ex * ex + ey * ey)).clamp(0, 1)
    dist = torch.sqrt((wx - along * ex) ** 2 + (wy - along * ey) ** 2 + 1e-12)
    outside = (wx * ey - wy * ex) > 0
    return torch.where(outside, dist, -dist)


def draw(
    scenes: Sequence[Scene],
    *,
    generator: torch.Generator | None = None,
    device: str | torch.device = "cpu",
    jitter: float = 8.0,
    size: int = SIZE,
) -> Drawing:
    """Draw N scenes. ``jitter`` is the standard deviation (of 255) by which each colour wanders; it needs a
    CPU ``generator``, or 0 for none."""
    objects = [o for s in scenes for o in s.objects]
    owner = torch.tensor([i for i, s in enumerate(scenes) for _ in s.objects], device=device)
    geometry = torch.tensor([(o.x, o.y, o.radius, o.turn) for o in objects], device=device)
    scale = size / SIZE
    x, y, radius, turn = geometry.unbind(1)
    sdf = signed_distance([o.shape for o in objects], x * scale, y * scale, radius * scale, turn, size)
    paint = torch.tensor([COLORS[o.color] for o in objects], dtype=torch.float32)
    ground = torch.tensor([BACKGROUNDS[s.background] for s in scenes], dtype=torch.float32)
    if generator is not None:
        paint += jitter * torch.randn(paint.shape, generator=generator)
        ground += 0.3 * jitter * torch.randn(ground.shape, generator=generator)
    paint, ground = (paint / 255).clamp(0, 1).to(device), (ground / 255).clamp(0, 1).to(device)

    n = len(scenes)
    images = ground[:, :, None, None].expand(n, 3, size, size).clone()
    coverage = (0.5 - sdf).clamp(0, 1)[:, None]
    # Objects never overlap, so the order does not matter and each pixel is blended once.
    images.index_add_(0, owner, coverage * (paint[:, :, None, None] - ground[owner][:, :, None, None]))
    distance = torch.full((n, size, size), 1e3, device=device)
    distance.scatter_reduce_(0, owner[:, None, None].expand_as(sdf), sdf, "amin")

    inside = (sdf < 0).long()
    shape_ids = torch.tensor([1 + SHAPES.index(o.shape) for o in objects], device=device)
    color_ids = torch.tensor([1 + list(COLORS).index(o.color) for o in objects], device=device)
    maps = torch.zeros(2, n, size, size, dtype=torch.long, device=device)
    maps[0].index_add_(0, owner, inside * shape_ids[:, None, None])
    maps[1].index_add_(0, owner, inside * color_ids[:, None, None])
    return Drawing(images.clamp(0, 1), distance, maps[0], maps[1])
