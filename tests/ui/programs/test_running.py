"""What tools run, without a server."""

from __future__ import annotations

import pytest

from diffatlas.errors import DiffAtlasError
from diffatlas.ui.attention_services import AttentionServices
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.live_benches import LiveBenches
from diffatlas.ui.programs.callers import Caller
from diffatlas.ui.programs.kept import Kept
from diffatlas.ui.programs.running import Runs
from diffatlas.ui.study_services import Running
from diffatlas.ui.turns import Turns

CALLER = Caller("somebody", "http://here")


@pytest.fixture
def runs(tmp_path):
    libraries = Libraries(tmp_path)
    kept = Kept(libraries, AttentionServices(libraries, Layers(libraries), None, {}), {})
    return Runs(libraries, Turns(), Running(), LiveBenches(), kept, {})


@pytest.mark.parametrize(
    ("tool", "asked"),
    [("trace", {}), ("sweep", {"field": "guidance_scale", "values": "1, 3"}), ("neighbourhood", {"k": 2})],
)
def test_what_takes_too_long_is_refused_with_its_estimate(runs, monkeypatch, tool, asked):
    monkeypatch.setenv("DIFFATLAS_MOST_SECONDS", "0.0001")
    with pytest.raises(
        DiffAtlasError, match=r"This is expected to take .*, and the bounds here are"
    ) as error:
        list(getattr(runs, tool)(CALLER, prompt="a red circle", **asked))
    assert "press" not in error.value.message


def test_what_is_told_to_stop_ends(runs):
    going = runs.trace(CALLER, prompt="a red circle", steps=900)
    for progress in going:
        if progress.done >= 1:
            runs.stop(CALLER)
    found = runs.kept.search("somebody", "http://here")["runs"]
    assert [one["status"] for one in found] == ["stopped"]
