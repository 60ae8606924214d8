"""Frames: the same at the other end, and nothing else is taken for one."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffatlas.backends.remote import protocol
from diffatlas.backends.remote.protocol import END, PACKED, PLAIN, Frames, answer_of, event_frame, frame
from diffatlas.errors import InvalidParams


@given(st.lists(st.binary(max_size=200)), st.booleans(), st.integers(1, 50))
def test_events_come_back_however_the_bytes_are_cut(answers, packing, part):
    sent = b"".join(event_frame(answer, packing) for answer in answers)
    frames, found = Frames(), []
    for at in range(0, len(sent), part):
        found += [answer_of(kind, payload) for kind, payload in frames.take(sent[at : at + part])]
    assert found == answers


def test_what_does_not_get_smaller_goes_as_it_is():
    noise = np.random.default_rng(0).bytes(4000)
    assert event_frame(noise, True) == frame(PLAIN, noise)
    smooth = np.linspace(0, 1, 1000, dtype=np.float32).tobytes()
    assert len(event_frame(smooth, True)) < 0.7 * len(smooth)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (PACKED, b""),
        (PACKED, b"\x04\0\0\0not zlib"),
        (PACKED, b"\x05\0\0\0" + zlib.compress(b"1234")),
        (PACKED, b"\x03\0\0\0" + zlib.compress(b"1234")),
        (PACKED, b"\xff\xff\xff\xff" + zlib.compress(b"1234")),
        (PACKED, b"\x04\0\0\0" + zlib.compress(bytes(100_000_000))),
        (END, b"1234"),
        (77, b"1234"),
    ],
)
def test_what_is_no_event_is_refused(kind, payload):
    with pytest.raises(ValueError):  # noqa: PT011
        answer_of(kind, payload)


def test_a_frame_beyond_the_bound_is_refused_by_its_head():
    with pytest.raises(ValueError, match="too large"):
        list(Frames().take((protocol.MOST_FRAME + 1).to_bytes(4, "little") + b"\0"))


def test_an_error_comes_back_as_it_was():
    error = InvalidParams("Give a prompt.", field="prompt")
    ((kind, payload),) = Frames().take(protocol.end_frame(error))
    back = protocol.error_of_end(payload)
    assert (kind, type(back), str(back), back.field) == (END, InvalidParams, "Give a prompt.", "prompt")
    assert protocol.error_of_end(b"") is None
    assert "cannot be read" in str(protocol.error_of_end(b"[1]"))
