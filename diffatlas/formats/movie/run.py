"""A run as a moving picture: its previews in step order, then the final image, as GIF or MP4."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from diffatlas.errors import CapabilityError
from diffatlas.formats.hosted import hosted_run
from diffatlas.formats.lettering import fit, font
from diffatlas.formats.movie.looping import HOLD, looping_gif
from diffatlas.formats.named import Named, first_preview
from diffatlas.look import FILM
from diffatlas.measured import unseen
from diffatlas.run import Run
from diffatlas.stopping import look

if TYPE_CHECKING:
    from PIL.Image import Image

#: Pictures are enlarged to at least, and reduced to at most, so many pixels on their longer side.
SMALLEST, LARGEST = 256, 768
BAR, LETTERS = 26, 12
GROUND, PRINT, MUTED = FILM.base, FILM.print, FILM.print_muted


@dataclass(frozen=True)
class _Shot:
    pixels: np.ndarray
    left: str
    right: str


def gif(named: Named, milliseconds: int = 120) -> bytes:
    """Return a looping GIF: ``milliseconds`` a preview, the final image for `HOLD`.

    Shows the first image of the batch. Each frame has a palette of its own. Raises `CapabilityError` for a run
    without previews.
    """
    return looping_gif([_paletted(frame) for frame in _frames(named)], milliseconds)


def mp4(named: Named, frames_per_second: int = 8) -> bytes:
    """Return an MP4 (H.264, yuv420p, Rec. 709) that browsers play: one frame a preview, the final image for `HOLD`.

    Shows the first image of the batch. Raises `CapabilityError` for a run without previews, and where FFmpeg
    came without an H.264 encoder.
    """
    import av
    from av.video.reformatter import ColorRange, Colorspace

    frames = [np.asarray(frame) for frame in _frames(named)]
    frames += [frames[-1]] * (round(HOLD / 1000 * frames_per_second) - 1)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        try:
            stream = container.add_stream("libx264", rate=Fraction(frames_per_second))
        except ValueError as error:
            raise CapabilityError("This FFmpeg has no H.264 encoder: export a GIF.") from error
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "16", "preset": "medium"}
        context = stream.codec_context
        context.color_range, context.colorspace = 1, 1  # limited range, Rec. 709
        context.color_primaries, context.color_trc = 1, 1
        for pixels in frames:
            look()
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def _frames(named: Named) -> Iterator[Image]:
    """Yield the frames, all of one size, even each way."""
    from PIL import Image as Pictures
    from PIL import ImageDraw as Drawing

    shots = _shots(named)
    final = shots[-1].pixels
    pictures = [_enlarged(shot.pixels, max(final.shape[:2])) for shot in shots]
    # The caption needs some width below a narrow picture too.
    width, height = max(SMALLEST, *(p.width for p in pictures)), max(p.height for p in pictures)
    size = width + width % 2, height + BAR + height % 2
    for shot, picture in zip(shots, pictures, strict=True):
        look()
        frame = Pictures.new("RGB", size, GROUND)
        frame.paste(picture, ((size[0] - picture.width) // 2, (height - picture.height) // 2))
        draw = Drawing.Draw(frame)
        baseline = size[1] - (BAR - LETTERS) // 2 - 2
        lettering = font(LETTERS)
        draw.text((9, baseline), shot.left, fill=PRINT, font=lettering, anchor="ls")
        draw.text((size[0] - 9, baseline), shot.right, fill=MUTED, font=lettering, anchor="rs")
        yield frame


def labels(run: Run) -> list[str]:
    """Return the timestep and the noise level at which the model was asked, as each step's frame prints them."""
    return [
        f"t {fit(step.timestep, 6, 3)} sigma {fit(before, 6, 3)}"
        for step, before in zip(run.steps, run.sigmas_before, strict=True)
    ]


def _shots(named: Named) -> list[_Shot]:
    run = named.run
    total = max(run.total_steps or 0, len(run.steps))
    previews = zip(run.steps, labels(run), map(first_preview, run.steps), strict=True)
    shots = [
        _Shot(pixels, f"step {step.index + 1} of {total}", label)
        for step, label, pixels in previews
        if pixels is not None
    ]
    if not shots and (hosted := hosted_run(run.provenance)):
        raise CapabilityError(f"{hosted.why} There is no film to make a movie of.")
    if not shots:
        again = "This run has no previews to make a movie of: run it again with previews on."
        raise CapabilityError(unseen(run.provenance) or again)
    if run.images:
        shots.append(_Shot(run.images[0], "final image", run.params.seed_words))
    return shots


def _enlarged(pixels: np.ndarray, final: int) -> Image:
    """Return the picture, every pixel as a square of whole pixels, as large as the final image or smaller."""
    from PIL import Image as Pictures

    picture = Pictures.fromarray(pixels)
    longer = max(picture.size)
    if longer > LARGEST:
        picture.thumbnail((LARGEST, LARGEST), Pictures.Resampling.LANCZOS)
        return picture
    factor = max(-(-SMALLEST // longer), min(final, LARGEST) // longer, 1)
    return picture.resize((picture.width * factor, picture.height * factor), Pictures.Resampling.NEAREST)


def _paletted(frame: Image) -> Image:
    """Return the frame in 256 colours: the nearest ones where it has few, dithered where it has many."""
    from PIL import Image as Pictures

    if frame.getcolors(4096):
        return frame.quantize(256, method=Pictures.Quantize.MAXCOVERAGE, dither=Pictures.Dither.NONE)
    palette = frame.quantize(256, method=Pictures.Quantize.MEDIANCUT)
    return frame.quantize(256, palette=palette, dither=Pictures.Dither.FLOYDSTEINBERG)
