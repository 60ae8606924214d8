"""A sampling in the plane as a moving picture: its points from noise to data, as GIF."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from diffatlas.formats.lettering import fit, font
from diffatlas.formats.movie.looping import looping_gif
from diffatlas.look import FILM
from diffatlas.stopping import look

if TYPE_CHECKING:
    from PIL.Image import Image

    from diffatlas.lab2d.samplers import Frames

SIDE, BAR, LETTERS, RADIUS = 440, 26, 12, 2.0
GROUND, PRINT, MUTED = FILM.base, FILM.print, FILM.print_muted
#: Milliseconds a frame.
EACH = 80


def plane_gif(frames: Frames, labels: np.ndarray | None, colours: tuple[str, ...], extent: float) -> bytes:
    """Return a looping GIF. labels: class of each point, (n,); colours: of the classes, the first if there is none."""
    pictures = [_frame(frames, at, labels, colours, extent) for at in range(len(frames.points))]
    return looping_gif(pictures, EACH)


def _frame(
    frames: Frames, at: int, labels: np.ndarray | None, colours: tuple[str, ...], extent: float
) -> Image:
    from PIL import Image as Pictures
    from PIL import ImageDraw as Drawing

    look()
    # Drawn at twice the size and reduced, so that the dots are round.
    big = Pictures.new("RGB", (2 * SIDE, 2 * SIDE), GROUND)
    draw = Drawing.Draw(big)
    places = (frames.points[at] * [1, -1] / extent + 1) * SIDE
    for k, (x, y) in enumerate(places):
        if np.isfinite((x, y)).all() and -9 < x < 2 * SIDE + 9 and -9 < y < 2 * SIDE + 9:
            fill = colours[0 if labels is None else int(labels[k]) % len(colours)]
            draw.ellipse((x - 2 * RADIUS, y - 2 * RADIUS, x + 2 * RADIUS, y + 2 * RADIUS), fill=fill)
    frame = Pictures.new("RGB", (SIDE, SIDE + BAR), GROUND)
    frame.paste(big.resize((SIDE, SIDE), Pictures.Resampling.LANCZOS))
    draw = Drawing.Draw(frame)
    base = SIDE + BAR - (BAR - LETTERS) // 2 - 2
    step = f"step {frames.steps[at]} of {frames.steps[-1]}"
    draw.text((9, base), step, fill=PRINT, font=font(LETTERS), anchor="ls")
    draw.text(
        (SIDE - 9, base), f"sigma {fit(frames.sigmas[at])}", fill=MUTED, font=font(LETTERS), anchor="rs"
    )
    return frame.quantize(64, method=Pictures.Quantize.MEDIANCUT, dither=Pictures.Dither.NONE)
