"""Frames as items: whole at the other end, or an error."""

import pytest

from diffatlas.backends.on_modal import frames
from diffatlas.errors import CapabilityError, NetworkError

A, B = b"attempt1", b"attempt2"
LARGE = bytes(range(256)) * 10_000


def items(attempt, *contents):
    found = [
        item for number, content in enumerate(contents) for item in frames.items_of(attempt, number, content)
    ]
    return [*found, frames.end_of(attempt, len(contents))]


def joined(found, joiner=None):
    joiner = joiner or frames.Joiner()
    return [frame.content for item in found if (frame := joiner.take(item)) is not None]


def test_frames_arrive_whole_and_items_keep_to_their_size():
    found = items(A, b"", b"x", LARGE, b"y")
    assert len(found) == 7
    assert max(map(len, found)) <= frames.ITEM_BYTES < 2**20
    assert joined(found) == [b"", b"x", LARGE, b"y", None]


def test_a_new_attempt_begins_anew_and_the_old_one_is_no_longer_heard():
    old, new = items(A, b"1", LARGE, b"3"), items(B, b"1", LARGE, b"3")
    joiner = frames.Joiner()
    # The first is lost in the midst of its large frame, and a last word of it comes late.
    assert joined(old[:2], joiner) == [b"1"]
    assert joined([new[0], old[2], *new[1:]], joiner) == [b"1", LARGE, b"3", None]


@pytest.mark.parametrize(
    "broken",
    [
        lambda found: found[1:],
        lambda found: found[:1] + found[2:],
        lambda found: [found[1], found[0], *found[2:]],
        lambda found: [*found[:2], found[1], *found[2:]],
        lambda found: [found[0][:-1] + b"?", *found[1:]],
        lambda found: [b"", *found],
        lambda found: [b"\x80\x04." * 40, *found],
        lambda found: [*found[:-1], frames.end_of(A, 9)],
    ],
)
def test_what_is_not_whole_is_an_error(broken):
    with pytest.raises(NetworkError, match="not whole"):
        joined(broken(items(A, b"1", b"2", LARGE)))


def test_another_version_is_told():
    item = bytearray(frames.end_of(A, 0))
    item[2] += 1
    with pytest.raises(CapabilityError, match="deploy it again"):
        frames.Joiner().take(bytes(item))
