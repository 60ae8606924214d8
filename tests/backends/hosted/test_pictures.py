"""Pictures from elsewhere: whole and right, or a sentence."""

from __future__ import annotations

import io
import struct
import zlib
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


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_picture_is_read_whatever_it_says_badly_of_how_it_was_held() -> None:
    for exif in (b"Exif\x00\x00II*\x00\xff\xff\xff\xff", b"Exif\x00\x00", b"Exif\x00\x00MM\x00*" + bytes(40)):
        assert read_picture(saved(Image.fromarray(PIXELS), "JPEG", exif=exif)).pixels.shape == (24, 16, 3)


@pytest.mark.parametrize("opaque", [True, False])
def test_a_palette_is_looked_up(opaque: bool) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    options = {} if opaque else {"transparency": 1}
    found = read_picture(saved(image, "PNG", **options)).pixels
    assert (found == ([0, 0, 255] if opaque else [255, 255, 255])).all()


def test_inks_become_colours() -> None:
    # Cyan alone.
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    found = read_picture(saved(image, "JPEG", quality=100)).pixels.astype(int)
    assert np.abs(found - [0, 255, 255]).max() <= 8


def test_sixteen_bits_of_colour_keep_their_upper_eight() -> None:
    wide = (PIXELS.astype(np.uint16) * 256 + 77).astype(">u2")
    rows = b"".join(b"\x00" + row.tobytes() for row in wide)
    header = struct.pack(">IIBBBBB", 16, 24, 16, 2, 0, 0, 0)
    blob = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )
    assert np.array_equal(read_picture(blob).pixels, PIXELS)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_several_frames_the_first_is_taken(kind: str) -> None:
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    blob = saved(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    assert np.array_equal(read_picture(blob).pixels, PIXELS)


def test_a_jpeg_with_a_second_picture_behind_it_is_a_jpeg() -> None:
    image = Image.fromarray(PIXELS)
    blob = saved(image, "MPO", save_all=True, append_images=[image])
    assert read_picture(blob).kind == "jpeg"


def test_a_preview_in_a_jpeg_does_not_stand_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    preview = saved(Image.fromarray(PIXELS), "JPEG")
    blob = saved(Image.fromarray(PIXELS.repeat(4, 0)), "JPEG", exif=b"Exif\x00\x00" + preview)
    assert read_picture(blob).kind == "jpeg"
    for end in (len(preview) + 700, len(blob) - 200, len(blob) - 2):
        with pytest.raises(BadDownload):
            read_picture(blob[:end])


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
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    with pytest.raises(BadDownload, match="far more pixels"):
        read_picture(blob[:12] + header + struct.pack(">I", zlib.crc32(header)) + blob[33:])


@pytest.mark.parametrize(
    "blob", [b"", b"<html>not a picture</html>", b"GIF89a\x01\x00\x01\x00", b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_picture_is_refused_in_a_sentence(blob: bytes) -> None:
    with pytest.raises(BadDownload) as refused:
        read_picture(blob)
    assert refused.value.message.isprintable()


SAMPLES = [png(1), *(saved(Image.fromarray(PIXELS.repeat(3, 0)), kind) for kind in ("JPEG", "WEBP"))]


@settings(max_examples=200, deadline=None)
@given(
    sample=st.sampled_from(SAMPLES),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    kept=st.floats(0, 1),
    lenient=st.booleans(),
)
def test_a_damaged_file_is_a_picture_or_a_sentence(
    sample: bytes, changes: list[tuple[float, int]], kept: float, lenient: bool
) -> None:
    blob = bytearray(sample)
    for where, value in changes:
        blob[int(where * len(blob))] = value
    cut = int(kept * len(blob))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
        with suppress(BadDownload):
            found = read_picture(bytes(blob[:cut]))
            assert found.pixels.dtype == np.uint8
            assert found.pixels.shape[2:] == (3,)
            assert changes or cut >= len(sample) - 1, "what is cut off is no picture"
