"""The address that others are given, and its code."""

from __future__ import annotations

import re

import pytest
import segno

from diffatlas.errors import InvalidParams
from diffatlas.ui import invitation as inviting
from diffatlas.ui.invitation import check_address, code, invitation, is_for_others, terminal_code

ADDRESS = "http://192.168.1.20:7860/"


def drawn(path: str, size: int) -> list[list[int]]:
    """The modules that an SVG path of bars draws."""
    rows = [[0] * size for _ in range(size)]
    for x, y, length in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", path):
        rows[int(y)][int(x) : int(x) + int(length)] = [1] * int(length)
    return rows


def test_the_code_on_the_page_has_the_modules_of_the_address_and_a_quiet_zone():
    made = code(ADDRESS)
    own = [[int(bool(one)) for one in row] for row in segno.make(ADDRESS, error="m", micro=False).matrix]
    rows = drawn(made.path, made.size)
    assert [row[4:-4] for row in rows[4:-4]] == own
    assert sum(map(sum, rows)) == sum(map(sum, own))


@pytest.mark.parametrize("colours", [True, False])
def test_the_code_in_a_terminal_reads_back(colours):
    dark = {" ": (0, 0), "▄": (0, 1), "▀": (1, 0), "█": (1, 1)}
    rows = []
    for line in re.sub(r"\x1b\[[0-9;]*m", "", terminal_code(ADDRESS, colours)).splitlines():
        pair = [dark[mark] if colours else tuple(1 - one for one in dark[mark]) for mark in line]
        rows += [[above for above, _ in pair], [below for _, below in pair]]
    own = [[int(bool(one)) for one in row] for row in segno.make(ADDRESS, error="m", micro=False).matrix]
    assert [row[3:-3] for row in rows[3 : 3 + len(own)]] == own


def test_an_address_is_given_out_only_where_others_reach_it(monkeypatch):
    monkeypatch.setattr(inviting, "lan_address", lambda: "192.168.1.20")
    assert invitation("127.0.0.1", 7860).address == ""
    assert "--host 0.0.0.0" in invitation("127.0.0.1", 7860).words
    assert invitation("0.0.0.0", 7860).address == ADDRESS
    assert invitation("10.0.0.5", 80).address == "http://10.0.0.5:80/"
    assert invitation("127.0.0.1", 1, "https://x.gradio.live").address == "https://x.gradio.live"
    assert invitation("127.0.0.1", 1, "https://x.gradio.live", "https://a.b/").address == "https://a.b/"
    monkeypatch.setattr(inviting, "lan_address", lambda: None)
    assert invitation("0.0.0.0", 7860).address == ""
    assert "is not known" in invitation("0.0.0.0", 7860).words


def test_no_loopback_name_is_for_others():
    assert is_for_others(ADDRESS)
    assert is_for_others("https://atlas.example.org/app/")
    for own in (
        "http://localhost:7860/",
        "http://127.0.0.2/",
        "http://[::1]:80/",
        "http://0.0.0.0/",
        "x",
        "javascript:1",
    ):
        assert not is_for_others(own), own


@pytest.mark.parametrize(
    "text", ["atlas", "ftp://a/", "http://", "http://me:secret@a/", "http://a b/", "http://ä/" * 99]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(InvalidParams, match="write it as a browser shows it"):
        check_address(text)
