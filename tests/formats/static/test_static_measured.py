"""What was measured of attention stays what it was through a static folder; where it is not known, that is said."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from diffatlas.attention.parts import parts_of
from diffatlas.attention.resampled import measured_on, resampled_to, sentences
from diffatlas.attention.trace import AttentionTrace
from diffatlas.cli import run as shell
from diffatlas.errors import CapabilityError
from diffatlas.figures import attention_curves, attention_divergence, attention_words
from diffatlas.formats.html.data import DETAILS, page_data
from diffatlas.formats.named import Named
from diffatlas.formats.static import kept
from diffatlas.formats.static.read import import_static
from diffatlas.formats.static.write import Options, plan, write
from diffatlas.formats.tables.attention import described
from diffatlas.library import Library
from tests.attended_runs import run_of
from tests.formats.static.static_folders import reference_folder

CROSS = {
    "down_blocks.0.attn2": ((8, 8), "down"),
    "mid_block.attn2": ((3, 3), "mid"),
    "up_blocks.0.attn2": ((16, 16), "up"),
}
OWN = {"up_blocks.0.attn1": ((16, 16), (8, 8), "up")}
ON = "Measured on maps resampled to 8 × 8 cells"


@pytest.fixture
def library(tmp_path) -> Library:
    return Library(tmp_path / "library")


@pytest.fixture
def run():
    return run_of(5, cross=CROSS, own=OWN, steps=4)


def through(run, library, folder, options=None):
    """The run that a run becomes through a folder."""
    return library.load(import_static(library, write(plan(run, options), folder)).run_id)


@pytest.mark.parametrize("options", [Options(), Options(resolution=5, self_resolution=2)])
def test_measures_are_those_of_the_run_to_the_last_bit(run, library, tmp_path, options):
    before, after = (
        AttentionTrace.of(run),
        AttentionTrace.of(through(run, library, tmp_path / "out", options)),
    )
    looks = [None, *parts_of(before).values(), ("mid_block.attn2",)]
    assert len(looks) == 5
    for layers in looks:
        a, b = before.within(layers), after.within(layers)
        for name, values in vars(a.measures).items():
            np.testing.assert_array_equal(getattr(b.measures, name), values, err_msg=name)
        assert a.dominance() == b.dominance()
        assert a.kl() == b.kl()
    assert measured_on(after) is None
    # The maps are others, which would have given other numbers.
    alone = replace(after, kept=type(after.kept)())
    assert np.abs(alone.entropy() / before.entropy() - 1)[:, 1].max() > 0.01
    assert resampled_to(after) == ("16 × 16 cells" if options == Options() else "5 × 5 cells")
    assert "as measured before that" in sentences(after)[0]


def test_maps_that_were_not_resampled_say_nothing(library, tmp_path):
    run = run_of(5, cross={"mid_block.attn2": ((8, 8), "mid")}, own=OWN)
    assert sentences(AttentionTrace.of(through(run, library, tmp_path / "out"))) == []


def test_other_looks_than_the_one_that_was_kept_are_measured_on_maps(run, library, tmp_path):
    after = AttentionTrace.of(through(run, library, tmp_path / "out"))
    with pytest.raises(CapabilityError, match="half"):
        _ = after.at(half="uncond").measures
    with pytest.raises(CapabilityError, match="heads"):
        after.at(head=0)


def test_where_there_are_too_many_numbers_activation_is_measured_on_maps_and_that_is_said(
    run, library, tmp_path, monkeypatch
):
    monkeypatch.setattr(kept, "MOST_NUMBERS", 4 * 3 * 77 - 1)
    before, after = AttentionTrace.of(run), AttentionTrace.of(through(run, library, tmp_path / "out"))
    np.testing.assert_array_equal(after.entropy(), before.entropy())
    assert after.kl() == before.kl()
    assert measured_on(after) == "on the layers' own maps, but activation on maps resampled to 16 × 16 cells"
    np.testing.assert_allclose(after.activation(), before.activation(), rtol=0.5)
    np.testing.assert_array_equal(
        after.measures.layer_activation[:, 2], before.measures.layer_activation[:, 2], err_msg="own size"
    )


def test_another_tools_maps_are_said_to_be_resampled_wherever_they_are_measured(
    library, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(library.folder))
    run_id = import_static(library, reference_folder(tmp_path / "theirs")).run_id
    run = library.load(run_id)
    trace = AttentionTrace.of(run)
    on = "on maps resampled to 8 × 8 cells"
    assert measured_on(trace) == on
    assert measured_on(trace, "self").startswith("on maps resampled to 4 × 1 cells")
    for made in (attention_curves(run), attention_words(run)):
        assert ON in made.layout.meta["says"]
        assert "Measured on maps resampled to 4 × 1 cells" in made.layout.meta["says"]
    both = attention_divergence(run, replace(run, id="other"))
    assert ON in both.layout.meta["says"]
    assert described(trace, trace, trace.measures)["measured_on"] == on
    page = page_data([Named("theirs", run, "#7c2d36")], DETAILS[0])
    assert any(on in note for note in page["runs"][0]["notes"])
    assert shell(["attention", run_id]) == 0
    assert (
        f"Attention to words is measured {on}, not on those of the layers themselves."
        in capsys.readouterr().out
    )
    # A folder of ours says it of them, too, and claims no measure of their own maps.
    again = write(plan(run), tmp_path / "again")
    assert not (again / "diffatlas_measured.json").exists()
    assert json.loads((again / "metadata.json").read_text())["diffatlas"]["measured_on"] == on
    once_more = AttentionTrace.of(library.load(import_static(library, again).run_id))
    assert measured_on(once_more) == on
    numbers = json.loads((again / "metrics.json").read_text())
    assert numbers["attention_kl_divergence_by_place"] == [None] * 3
    assert [entry["mean"] for entry in numbers["cross_attention_entropy"]] == [2.0] * 3


def test_a_run_says_nothing_of_what_was_kept_where_environments_are_compared(run, library, tmp_path):
    from diffatlas.library.difference import records

    names = records(through(run, library, tmp_path / "out").provenance)
    assert not [name for name in names if "measured" in name or name.startswith("static")]
