import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from diffatlas.errors import CapabilityError
from diffatlas.formats.named import Named
from diffatlas.formats.sheet import film
from diffatlas.formats.sheet.shapes import (
    FRAME,
    Perforation,
    Picture,
    Polygon,
    Text,
    contact_sheet,
    edge_print,
)

SVG = "{http://www.w3.org/2000/svg}"


def elements(data: bytes, name: str):
    return list(ElementTree.fromstring(data).iter(SVG + name))


def words(data: bytes) -> list[str]:
    return [element.text for element in elements(data, "text")]


def decoded(element) -> np.ndarray:
    kind, encoded = element.get("href").split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))


def test_every_step_is_a_frame_with_its_edge_print(layers):
    data = film.svg(layers)
    texts = words(data)
    for entry in layers:
        befores = [entry.run.initial_sigma, *(step.sigma for step in entry.run.steps[:-1])]
        for step, before in zip(entry.run.steps, befores, strict=True):
            for printed in edge_print(step, before, entry.run).values():
                assert printed in texts
    first = layers[0].run.steps[2]
    assert float(edge_print(first, None, layers[0].run)["norm"].split()[1]) == pytest.approx(
        float(np.linalg.norm(first.latents)), rel=1e-3
    )
    # Two layers: 5 + 10 steps, numbered in order.
    assert [t for t in texts if t.isdecimal()] == [str(k) for k in (*range(1, 6), *range(1, 11))]


def test_the_pictures_are_the_previews(layers):
    images = [decoded(image) for image in elements(film.svg(layers), "image")]
    wanted = []
    for entry in layers:
        wanted += [entry.run.images[0], *(s.preview[0] for s in entry.run.steps if s.preview is not None)]
    # Every fourth of ten steps, and the last: four previews.
    assert len(images) == len(wanted) == 1 + 5 + 1 + 4
    for found, expected in zip(images, wanted, strict=True):
        assert np.array_equal(found, expected)


def test_the_svg_stands_alone(layers):
    data = film.svg(layers).decode()
    assert "<script" not in data
    assert "<style" not in data
    assert set(re.findall(r'(?:href|src)="(.{5})', data)) == {"data:"}
    assert re.findall(r"https?://[^\"]*", data) == ["http://www.w3.org/2000/svg"]


def test_text_is_escaped(run):
    name = '</text><script>alert(1)</script> & "quoted" \x00\x1b\ud800 日本'
    prompt = run.params.replace(prompt="]]><image href='https://example.com/x.png'/>")
    from dataclasses import replace

    data = film.svg([Named(name, replace(run, params=prompt))])
    assert not elements(data, "script")
    assert len(elements(data, "image")) == 6
    assert '</text><script>alert(1)</script> & "quoted" \ufffd 日本' in words(data)
    assert prompt.prompt in words(data)


def test_frames_lie_in_rows_of_eight(layers):
    sheet = contact_sheet(layers[1:])
    numbers = {
        shape.text: shape for shape in sheet.shapes if isinstance(shape, Text) and shape.text.isdecimal()
    }
    assert [len({numbers[str(k)].y for k in row}) for row in (range(1, 9), range(9, 11))] == [1, 1]
    assert numbers["9"].x == numbers["1"].x
    assert numbers["9"].y > numbers["1"].y + FRAME
    assert np.ptp(np.diff([numbers[str(k)].x for k in range(1, 9)])) < 1e-9
    for shape in sheet.shapes:
        if isinstance(shape, Picture):
            assert shape.x + shape.width <= sheet.width
            assert shape.y + shape.height <= sheet.height
    # Holes above and below each strip, as many as the strip is long.
    assert [shape.count for shape in sheet.shapes if isinstance(shape, Perforation)] == [64, 64, 16, 16]


def test_the_histogram_counts_the_pixels(run):
    step = run.steps[4]
    polygons = [
        s for s in contact_sheet([Named("a", run)]).shapes if isinstance(s, Polygon) and len(s.points) > 3
    ]
    red, green, blue = polygons[-3:]
    counts = [np.histogram(step.preview[0][..., c], bins=16, range=(0, 256))[0] for c in range(3)]
    for polygon, wanted in zip((red, green, blue), counts, strict=True):
        floor = polygon.points[0][1]
        heights = [floor - y for _, y in polygon.points[1:-1:2]]
        np.testing.assert_allclose(heights, 36 * wanted / np.max(counts), atol=1e-9)


def test_the_png_is_the_same_sheet(layers):
    sheet = contact_sheet(layers)
    root = ElementTree.fromstring(film.svg(layers))
    for scale in (1, 2):
        picture = Image.open(io.BytesIO(film.png(layers, scale)))
        assert picture.size == (scale * int(root.get("width")), scale * int(root.get("height")))
        pixels = np.asarray(picture)
        for shape in sheet.shapes:
            if isinstance(shape, Picture):
                y, x = (
                    round(scale * (shape.y + shape.height * 0.52)),
                    round(scale * (shape.x + shape.width * 0.52)),
                )
                rows, columns = shape.pixels.shape[:2]
                wanted = shape.pixels[int(rows * 0.52), int(columns * 0.52)]
                assert np.abs(pixels[y, x].astype(int) - wanted).max() <= 40
            elif isinstance(shape, Perforation):
                y = round(scale * (shape.y + shape.height / 2))
                x = round(scale * (shape.x + shape.width / 2))
                assert tuple(pixels[y, x]) == (0xFA, 0xF7, 0xF0)
                assert tuple(pixels[y, x + round(scale * shape.pitch / 2)]) == (0x17, 0x13, 0x10)
            elif isinstance(shape, Polygon) and len(shape.points) == 3:
                x, y = (round(scale * (shape.points[0][0] + 2)), round(scale * shape.points[1][1]))
                assert "#{:02x}{:02x}{:02x}".format(*pixels[y, x]) == shape.fill
            elif isinstance(shape, Text) and not shape.right:
                box = np.s_[round(scale * (shape.y - shape.size)) : round(scale * shape.y)]
                drawn = pixels[box, round(scale * shape.x) : round(scale * (shape.x + 6 * shape.size))]
                assert np.ptp(drawn.astype(int)) > 60, shape.text


def test_a_film_too_large_for_a_png_says_so(layers, monkeypatch):
    sheet = contact_sheet(layers)
    monkeypatch.setattr(film, "MAX_PIXELS", 2 * sheet.width * sheet.height)
    assert Image.open(io.BytesIO(film.png(layers))).size == (sheet.width, sheet.height)
    monkeypatch.setattr(film, "MAX_PIXELS", 1000)
    with pytest.raises(CapabilityError, match="SVG"):
        film.png(layers)


def test_large_previews_are_embedded_no_larger_than_drawn(run):
    from dataclasses import replace

    pixels = np.random.default_rng(0).integers(0, 256, (1, 640, 1024, 3), dtype=np.uint8)
    large = replace(run, steps=(replace(run.steps[0], preview=pixels),), images=())
    (image,) = elements(film.svg([Named("a", large)]), "image")
    assert decoded(image).shape == (275, 440, 3)
    assert float(image.get("height")) == pytest.approx(FRAME * 640 / 1024, abs=0.01)
