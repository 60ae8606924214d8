import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageSequence

from diffatlas.errors import CapabilityError
from diffatlas.formats.movie import run as movie
from diffatlas.formats.named import Named


def gif_frames(data: bytes):
    with Image.open(io.BytesIO(data)) as file:
        shown = [
            (frame.info["duration"], np.asarray(frame.convert("RGB")))
            for frame in ImageSequence.Iterator(file)
        ]
        return file.info, [d for d, _ in shown], [pixels for _, pixels in shown]


def mp4_frames(data: bytes):
    import av

    with av.open(io.BytesIO(data)) as file:
        stream = file.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
        return stream, frames


def pictures(run):
    """What the frames should show, at 256 x 256: every pixel as a square."""
    previews = [s.preview[0] for s in run.steps if s.preview is not None]
    return [
        np.kron(p, np.ones((256 // len(p), 256 // len(p), 1), np.uint8)) for p in (*previews, *run.images)
    ]


def test_a_gif_shows_the_previews_and_holds_the_image(layers):
    for entry in layers:
        info, durations, frames = gif_frames(movie.gif(entry, milliseconds=250))
        wanted = pictures(entry.run)
        assert durations == [250] * (len(wanted) - 1) + [1500]
        assert info["loop"] == 0  # for ever
        for frame, picture in zip(frames, wanted, strict=True):
            assert frame.shape == (282, 256, 3)
            # 256 colours cannot be all of the final image's.
            error = np.abs(frame[:256].astype(int) - picture)
            assert error.mean() < 3
        assert np.abs(frames[0][:256].astype(int) - wanted[0]).max() <= 8
        assert not np.array_equal(frames[0][256:], frames[1][256:])  # the caption counts


def test_an_mp4_plays_in_browsers(layers):
    for entry in layers:
        data = movie.mp4(entry, frames_per_second=10)
        stream, frames = mp4_frames(data)
        wanted = pictures(entry.run)
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 10)
        assert data[4:8] == b"ftyp"
        # The final image is held for 1.5 s.
        assert len(frames) == len(wanted) - 1 + 15
        for frame, picture in zip(frames, [*wanted, *[wanted[-1]] * 14], strict=True):
            assert frame.shape == (282, 256, 3)
            assert np.abs(frame[:256].astype(int) - picture).mean() < 5


def test_an_mp4_says_how_its_colours_are_coded_and_codes_them_so(run):
    import av

    red = np.zeros((1, 16, 16, 3), np.uint8)
    red[..., 0] = 255
    data = movie.mp4(Named("a", replace(run, steps=(replace(run.steps[0], preview=red),), images=())))
    with av.open(io.BytesIO(data)) as file:
        context = file.streams.video[0].codec_context
        codes = (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
        assert codes == (1, 1, 1, 1)  # Rec. 709, limited range
        frame = next(file.decode(video=0))
    # Rec. 709: 16 + 219 * 0.2126; Rec. 601 would give 81.
    assert abs(int(frame.to_ndarray()[128, 128]) - 62.6) < 2


def test_sizes_are_even_and_pictures_whole(run):
    rng = np.random.default_rng(0)
    sizes = [((33, 21), (66, 42)), ((1, 300), (1, 300)), ((40, 50), (512, 640)), ((96, 96), (1201, 901))]
    for preview, final in sizes:
        steps = tuple(
            replace(s, preview=rng.integers(0, 256, (1, *preview, 3), dtype=np.uint8)) for s in run.steps[:2]
        )
        odd = replace(run, steps=steps, images=(rng.integers(0, 256, (*final, 3), dtype=np.uint8),))
        stream, frames = mp4_frames(movie.mp4(Named("a", odd)))
        assert (stream.width % 2, stream.height % 2) == (0, 0)
        assert 256 <= max(stream.width, stream.height - 26) <= 1000
        assert stream.width >= 256  # the caption needs it
        assert len(frames) == 2 + 12
        _, _, shown = gif_frames(movie.gif(Named("a", odd)))
        assert shown[0].shape == frames[0].shape


def test_a_run_that_was_stopped_ends_on_its_last_preview(run):
    stopped = replace(run, images=(), steps=run.steps[:3], status="stopped")
    _, durations, _ = gif_frames(movie.gif(Named("a", stopped)))
    assert durations == [120, 120, 1500]


@pytest.mark.parametrize("make", [movie.gif, movie.mp4])
def test_without_previews_there_is_no_movie(run, make):
    bare = replace(run, steps=tuple(replace(s, preview=None) for s in run.steps))
    with pytest.raises(CapabilityError, match="no previews"):
        make(Named("a", bare))
