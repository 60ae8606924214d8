"""Attention in datasets: a table of its own, which other tools read, and runs that come back with all of it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import load

from diffatlas.errors import CapabilityError
from diffatlas.formats.dataset import shards
from diffatlas.formats.dataset.read import import_dataset
from diffatlas.formats.dataset.size import dataset_size
from diffatlas.formats.dataset.write import export_dataset
from diffatlas.library import Library
from diffatlas.library.attended import attention_of
from tests.attended_runs import CROSS, WORDS, run_of
from tests.formats.dataset.dataset_runs import WHOLE, events, files

OWN = {"mid_block.attn1": ((8, 8), (4, 4), "mid")}
ATTENDED, SPARSE = "20260131-120000-00000007", "20260131-120000-00000008"
ALL = [WHOLE, ATTENDED, SPARSE]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A run without attention, one with both kinds, and one with maps at every second step."""
    own = Library(tmp_path_factory.mktemp("library"))
    list(own.record(events(WHOLE)))
    own.save(run_of(7, own=OWN))
    own.save(run_of(8, steps=4, every=2))
    return own


@pytest.fixture(scope="module", params=["run", "step"])
def folder(request, library, tmp_path_factory):
    return export_dataset(library, tmp_path_factory.mktemp("out") / "d", ALL, per=request.param)


def test_the_runs_come_back_to_the_byte(library, folder, tmp_path):
    back = Library(tmp_path / "runs")
    assert import_dataset(back, folder) == ALL
    for run_id in ALL:
        ours, theirs = files(library.folder / run_id), files(back.folder / run_id)
        one, other = json.loads(ours.pop("manifest.json")), json.loads(theirs.pop("manifest.json"))
        assert ours == theirs
        assert other.pop("imported") is True
        assert one == other
        assert back.check(run_id).status == "complete"
    a, b = attention_of(library.open(ATTENDED)), attention_of(back.open(ATTENDED))
    np.testing.assert_array_equal(a.word_maps("red"), b.word_maps("red"))
    assert [layer.key for layer in b.layers] == [layer.key for layer in a.layers]
    assert back.search(attention="all").total == 1
    assert import_dataset(back, folder) == []


def test_pandas_reads_every_map_and_what_is_said_of_it(library, folder):
    table = pd.read_parquet(folder / "attention")
    assert len(table) == 3 * 3 + 2 * 2
    for _, row in table.iterrows():
        stored = library.open(row["run_id"])
        maps = load(row["maps"])["maps"]
        kept = stored.attention(row["step"] - 1)[f"{row['kind']}:{row['layer']}"]
        assert maps.dtype == kept.dtype
        np.testing.assert_array_equal(maps, kept)
        assert tuple(row["shape"]) == maps.shape
        # By the definitions, from the maps alone.
        if row["kind"] == "cross":
            p = np.maximum(maps[0].astype(np.float64), 1e-8)
            p /= p.sum(0, keepdims=True)
            entropy = -(p * np.log(p)).sum(0).mean()
            assert row["entropy"] == pytest.approx(entropy, rel=1e-4)
            assert row["entropy_share"] == pytest.approx(entropy / math.log(77), rel=1e-4)
            assert list(row["words"][1 : len(WORDS) + 1]) == WORDS
            assert row["words"][0] is None
            assert list(row["tokens"][:2]) == ["<|startoftext|>", "a"]
            np.testing.assert_allclose(row["activation"], maps[0].astype(np.float64).mean((1, 2)), rtol=1e-3)
            assert (tuple(row["grid"]), row["block"]) == CROSS[row["layer"]]
        else:
            p = np.maximum(maps[0].astype(np.float64).reshape(16, 16), 1e-8)
            p /= p.sum(1, keepdims=True)
            assert row["entropy"] == pytest.approx(-(p * np.log(p)).sum(1).mean(), rel=1e-4)
            assert len(row["tokens"]) == len(row["activation"]) == 0
        assert row["heads"] == 8


def test_the_measures_are_those_of_the_pages(library, folder):
    table = pd.read_parquet(folder / "attention", columns=["run_id", "step", "kind", "layer", "entropy"])
    trace = attention_of(library.open(ATTENDED))
    for kind in ("cross", "self"):
        values = trace.entropy(kind)
        for k, step in enumerate(trace.steps):
            for i, layer in enumerate(trace.chosen(kind, None)):
                own = table[
                    (table.run_id == ATTENDED) & (table.step == step + 1) & (table.layer == layer.name)
                ]
                assert own.entropy.item() == values[k, i]


def test_arrow_takes_the_rows_of_one_layer_and_not_the_others(folder):
    rows = pads.dataset(folder / "attention").to_table(
        columns=["step", "entropy"],
        filter=(pc.field("layer") == "up_blocks.0.attn2") & (pc.field("step") > 1),
    )
    assert sorted(rows["step"].to_pylist()) == [2, 3, 3]


def test_datasets_shows_the_runs_first_and_the_maps_when_asked(folder, tmp_path, monkeypatch):
    import huggingface_hub
    from datasets import get_dataset_config_names, load_dataset

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert get_dataset_config_names(str(folder)) == ["default", "attention"]
    runs = load_dataset(str(folder), split="train", cache_dir=str(tmp_path))
    assert "maps" not in runs.column_names
    assert type(runs.features["image"]).__name__ == "Image"
    assert set(runs["run_id"]) == set(ALL)
    for streaming in (False, True):
        maps = load_dataset(
            str(folder), "attention", split="train", streaming=streaming, cache_dir=str(tmp_path)
        )
        first = next(iter(maps))
        assert load(first["maps"])["maps"].shape == tuple(first["shape"])
    configs = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])["configs"]
    assert [(one["config_name"], one.get("default")) for one in configs] == [
        ("default", True),
        ("attention", None),
    ]


def test_the_card_describes_the_maps(folder):
    body = (folder / "README.md").read_text()
    names = pq.read_schema(next((folder / "attention").iterdir())).names
    assert [name for name in names if f"`{name}`" not in body] == []
    assert '"attention", split="train"' in body
    assert "So does their attention" in body


def test_the_first_columns_are_a_picture_a_prompt_and_numbers(folder):
    schema = pq.read_schema(next((folder / "data").iterdir()))
    shown = schema.names[:9]
    assert {"prompt", "image"} <= set(shown) or {"preview", "timestep", "sigma"} <= set(shown)
    # What is large comes last.
    assert schema.names[-6:] == ["inputs", "latents", "predictions", "manifest", "marks", "steps_jsonl"]


@pytest.mark.parametrize("per", ["run", "step"])
def test_a_dataset_without(library, tmp_path, per):
    folder = export_dataset(library, tmp_path / "d", ALL, per=per, attention=False)
    assert not (folder / "attention").exists()
    assert "left out" in (folder / "README.md").read_text()
    back = Library(tmp_path / "runs")
    assert import_dataset(back, folder) == ALL
    for run_id in (ATTENDED, SPARSE):
        assert back.check(run_id).status == "complete"
        assert "attention" not in json.dumps(back.open(run_id).manifest)
        assert back.load(run_id).latents.tobytes() == library.load(run_id).latents.tobytes()
    # Where the runs are with all they have, they are not taken for others.
    assert import_dataset(library, folder) == []


def test_attention_that_no_run_has(library, tmp_path):
    with pytest.raises(CapabilityError, match="None of these runs has attention") as caught:
        export_dataset(library, tmp_path / "d", [WHOLE], attention=True)
    assert caught.value.field == "attention"
    assert list(tmp_path.iterdir()) == []
    folder = export_dataset(library, tmp_path / "d", [WHOLE])
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "contact_sheet.png", "data"]


def test_the_size_is_said_beforehand(library, tmp_path):
    said = dataset_size(library, [*ALL, WHOLE])
    on_disk = {
        path: path.stat().st_size
        for run in ALL
        for path in (library.folder / run).rglob("*")
        if path.is_file()
    }
    assert said.attention == sum(size for path, size in on_disk.items() if "attention" in path.name)
    assert said.attention + said.rest == sum(on_disk.values())
    assert (said.runs, said.attended) == (3, 2)
    assert said.sentence.startswith("3 runs, at most about ")
    assert "The attention of 2 of them is" in said.sentence
    assert said.sentence_with(False).endswith("is left out.")
    assert dataset_size(library, [WHOLE]).sentence.endswith("It has no attention.")
    folder = export_dataset(library, tmp_path / "d", ALL)
    written = sum(path.stat().st_size for path in (folder / "attention").iterdir())
    assert 0.5 * said.attention < written < 1.1 * said.attention


def test_maps_over_several_files(library, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "GROUP_BYTES", 10_000)
    monkeypatch.setattr(shards, "FILE_BYTES", 30_000)
    folder = export_dataset(library, tmp_path / "d", ALL)
    count = len(list((folder / "attention").iterdir()))
    assert count > 2
    back = Library(tmp_path / "runs")
    said = []
    assert import_dataset(back, folder, progress=lambda share, message: said.append(share)) == ALL
    assert said == sorted(said)
    assert files(back.folder / SPARSE).keys() == files(library.folder / SPARSE).keys()


def test_progress_goes_from_nothing_to_all(library, tmp_path):
    said = []
    export_dataset(library, tmp_path / "d", ALL, progress=lambda *told: said.append(told))
    shares = [share for share, _ in said]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert "Writing attention, map 13 of 13" in [message for _, message in said]


def test_maps_that_are_not_what_the_run_says_are_kept_and_not_measured(library, tmp_path):
    own = Library(tmp_path / "own")
    own.save(run_of(9, steps=1))
    path = own.folder / "20260131-120000-00000009" / "manifest.json"
    manifest = json.loads(path.read_text())
    layers = manifest["provenance"]["attention"]["layers"]
    layers[0]["tokens"] = 5
    del layers[1:]
    path.write_text(json.dumps(manifest))
    folder = export_dataset(own, Path(tmp_path / "d"), [path.parent.name])
    rows = pq.read_table(folder / "attention").to_pylist()
    assert [row["entropy"] for row in rows if row["layer"] not in layers[0]["name"]] == [None]
    back = Library(tmp_path / "runs")
    import_dataset(back, folder)
    assert len(back.open(path.parent.name).attention(0)) == 2
