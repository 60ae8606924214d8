"""Pictures from elsewhere: whole and right, or a sentence."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from diffatlas.backends.hosted.pictures import read_picture
from diffatlas.errors import BadDownload
from tests.backends.hosted.fakes.server import png

PIXELS = np.random.default_rng(3).integers(0, 256, (24, 16, 3), dtype=np.uint8)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 95})]
)
def test_a_picture_is_read(kind: str, options: dict[str, object]) -> None:
    blob = saved(Image.fromarray(PIXELS), kind, **options)
    found = read_picture(blob)
    assert found.kind == kind.lower()
    assert found.bytes == len(blob)
    expected = np.asarray(Image.open(io.BytesIO(blob)).convert("RGB"))
    assert np.array_equal(found.pixels, expected)
    assert found.pixels.dtype == np.uint8
    if kind != "JPEG":
        assert np.array_equal(found.pixels, PIXELS)


def test_what_is_transparent_lies_on_white() -> None:
    rgba = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 128, np.uint8)])
    found = read_picture(saved(Image.fromarray(rgba), "PNG")).pixels
    expected = PIXELS * (128 / 255) + 255 * (1 - 128 / 255)
    assert np.abs(found - expected).max() <= 1.01


def test_sixteen_bits_of_grey_keep_their_upper_eight() -> None:
    grey = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
    found = read_picture(saved(Image.fromarray(grey), "PNG")).pixels
    assert np.array_equal(found[..., 0], (grey >> 8).astype(np.uint8))


def test_a_picture_is_turned_as_its_file_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    found = read_picture(saved(Image.fromarray(PIXELS), "PNG", exif=exif)).pixels
    assert np.array_equal(found, np.rot90(PIXELS, k=-1))


@pytest.mark.parametrize("lenient", [False, True])
def test_a_picture_that_is_cut_off_is_refused(monkeypatch: pytest.MonkeyPatch, lenient: bool) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    for kind in ("PNG", "JPEG", "WEBP"):
        blob = saved(Image.fromarray(PIXELS.repeat(4, 0).repeat(4, 1)), kind)
        for part in (0.3, 0.6, 0.95):
            with pytest.raises(BadDownload):
                read_picture(blob[: int(len(blob) * part)])


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    blob = saved(Image.new("L", (6000, 6000)), "PNG")
    assert len(blob) < 200_000
    with pytest.raises(BadDownload, match="6000 x 6000"):
        read_picture(blob)


@pytest.mark.parametrize(
    "blob", [b"", b"<html>not a picture</html>", b"GIF89a\x01\x00\x01\x00", b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_picture_is_refused_in_a_sentence(blob: bytes) -> None:
    with pytest.raises(BadDownload) as refused:
        read_picture(blob)
    assert refused.value.message.isprintable()


@settings(deadline=None)
@given(at=st.integers(0, 12_000), value=st.integers(0, 255), cut=st.integers(0, 12_000))
def test_a_damaged_file_is_a_picture_or_a_sentence(at: int, value: int, cut: int) -> None:
    blob = bytearray(png(1))
    if at < len(blob):
        blob[at] = value
    with suppress(BadDownload):
        assert read_picture(bytes(blob[: len(blob) - cut % 50])).pixels.ndim == 3
