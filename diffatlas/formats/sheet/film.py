"""The contact sheet of layers in the manner of 35 mm film, as an SVG that stands alone or as a PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from diffatlas.errors import CapabilityError
from diffatlas.formats.lettering import font
from diffatlas.formats.named import Named, plain
from diffatlas.formats.sheet import shapes
from diffatlas.formats.sheet.shapes import (
    Box,
    Perforation,
    Picture,
    Polygon,
    Shape,
    Sheet,
    Text,
    contact_sheet,
)

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

FAMILY = "'IBM Plex Mono', 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
#: Pixels of a PNG: 3 bytes each are held in memory, and few programs open more.
MAX_PIXELS = 120_000_000
#: An SVG holds pictures at no more than this many times the size at which it draws them.
KEPT = 2


def svg(runs: Sequence[Named]) -> bytes:
    """Return the sheet as SVG: pictures inside, no scripts, nothing fetched; every step is a frame."""
    sheet = contact_sheet(runs)
    title = escape(", ".join(plain(entry.name) for entry in runs))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {sheet.width} {sheet.height}" '
        f'width="{sheet.width}" height="{sheet.height}" font-family="{FAMILY}" xml:space="preserve">',
        f"<title>{title}</title>",
        f'<rect width="100%" height="100%" fill="{shapes.PAPER}"/>',
        *(_element(shape) for shape in sheet.shapes),
        "</svg>\n",
    ]
    return "\n".join(lines).encode()


def png(runs: Sequence[Named], scale: int = 2) -> bytes:
    """Return the sheet as PNG at ``scale`` times the size of the SVG.

    A sheet that would exceed `MAX_PIXELS` is drawn at scale 1; one that exceeds it even so raises
    `CapabilityError`.
    """
    sheet = contact_sheet(runs)
    scale = scale if sheet.width * sheet.height * scale**2 <= MAX_PIXELS else 1
    if sheet.width * sheet.height * scale**2 > MAX_PIXELS:
        raise CapabilityError(
            f"This film is {sheet.height:,} pixels tall, too much for one PNG: export fewer layers, or the SVG."
        )
    picture = drawn(sheet, scale)
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=5)
    return file.getvalue()


def _element(shape: Shape) -> str:
    match shape:
        case Box():
            radius = f' rx="{_n(shape.radius)}"' if shape.radius else ""
            return f'<rect {_place(shape)}{radius} fill="{shape.fill}"/>'
        case Polygon():
            points = " ".join(f"{_n(x)},{_n(y)}" for x, y in shape.points)
            opacity = f' fill-opacity="{shape.opacity:g}"' if shape.opacity < 1 else ""
            return f'<polygon points="{points}" fill="{shape.fill}"{opacity}/>'
        case Perforation():
            return _holes(shape)
        case Text():
            bold = ' font-weight="700"' if shape.bold else ""
            anchor = ' text-anchor="end"' if shape.right else ""
            at = f'x="{_n(shape.x)}" y="{_n(shape.y)}" font-size="{_n(shape.size)}"'
            return f'<text {at} fill="{shape.fill}"{bold}{anchor}>{escape(plain(shape.text))}</text>'
    limit = round(KEPT * max(shape.width, shape.height))
    rendering = "pixelated" if max(shape.pixels.shape[:2]) < limit else "auto"
    uri = quoteattr(_uri(shape.pixels, limit))
    style = f'preserveAspectRatio="none" style="image-rendering:{rendering}"'
    return f"<image {_place(shape)} {style} href={uri}/>"


def _holes(shape: Perforation) -> str:
    r, across, down = shape.radius, shape.width - 2 * shape.radius, shape.height - 2 * shape.radius
    corner = f"a{_n(r)} {_n(r)} 0 0 1 "
    hole = f"h{_n(across)}{corner}{_n(r)} {_n(r)}v{_n(down)}{corner}{_n(-r)} {_n(r)}h{_n(-across)}"
    hole += f"{corner}{_n(-r)} {_n(-r)}v{_n(-down)}{corner}{_n(r)} {_n(-r)}z"
    path = "".join(f"M{_n(shape.x + i * shape.pitch + r)} {_n(shape.y)}{hole}" for i in range(shape.count))
    return f'<path d="{path}" fill="{shape.fill}"/>'


def _place(shape: Box | Picture) -> str:
    return f'x="{_n(shape.x)}" y="{_n(shape.y)}" width="{_n(shape.width)}" height="{_n(shape.height)}"'


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _uri(pixels: np.ndarray, limit: int) -> str:
    from PIL import Image as Pictures

    picture = Pictures.fromarray(pixels)
    picture.thumbnail((limit, limit), Pictures.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def drawn(sheet: Sheet, scale: int) -> Image:
    """Return a sheet as a picture, ``scale`` pixels to a unit."""
    from PIL import Image as Pictures
    from PIL import ImageDraw as Drawing

    picture = Pictures.new("RGB", (sheet.width * scale, sheet.height * scale), shapes.PAPER)
    draw = Drawing.Draw(picture, "RGBA")  # fills may be translucent
    for shape in sheet.shapes:
        if isinstance(shape, Picture):
            _paste(picture, shape, scale)
        else:
            _draw(draw, shape, scale)
    return picture


def _draw(draw: ImageDraw, shape: Box | Polygon | Perforation | Text, scale: int) -> None:
    match shape:
        case Box():
            corners = _corners(shape.x, shape.y, shape.width, shape.height, scale)
            draw.rounded_rectangle(corners, shape.radius * scale, fill=shape.fill)
        case Polygon():
            alpha = f"{round(255 * shape.opacity):02x}"
            draw.polygon([(x * scale, y * scale) for x, y in shape.points], fill=shape.fill + alpha)
        case Perforation():
            for i in range(shape.count):
                corners = _corners(shape.x + i * shape.pitch, shape.y, shape.width, shape.height, scale)
                draw.rounded_rectangle(corners, shape.radius * scale, fill=shape.fill)
        case Text():
            lettering = font(shape.size * scale, shape.bold)
            anchor = "rs" if shape.right else "ls"
            at = (shape.x * scale, shape.y * scale)
            draw.text(at, plain(shape.text), fill=shape.fill, font=lettering, anchor=anchor)


def _paste(picture: Image, shape: Picture, scale: int) -> None:
    from PIL import Image as Pictures

    left, top, right, bottom = _corners(shape.x, shape.y, shape.width, shape.height, scale)
    size = right - left + 1, bottom - top + 1
    pixels = Pictures.fromarray(shape.pixels)
    enlarged = pixels.width < size[0]
    filtered = Pictures.Resampling.NEAREST if enlarged else Pictures.Resampling.LANCZOS
    picture.paste(pixels.resize(size, filtered), (left, top))


def _corners(x: float, y: float, width: float, height: float, scale: int) -> tuple[int, int, int, int]:
    """Return the first and last pixel of a rectangle, at least one pixel each way."""
    left, top = round(x * scale), round(y * scale)
    return left, top, max(round((x + width) * scale) - 1, left), max(round((y + height) * scale) - 1, top)
