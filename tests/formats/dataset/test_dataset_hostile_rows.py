"""What a stranger may write into the rows of a dataset: each is refused with its reason, and nothing comes in."""

import io
import json
import pickle
import zlib

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pictures
from safetensors.numpy import save

from tests.formats.dataset.dataset_damage import FILE, edit, edit_line, edit_manifest, png

pytestmark = pytest.mark.usefixtures("ready_reader")


# -- pictures --


def test_a_picture_that_says_it_is_huge(folder, refused):
    def huge(picture):
        head = picture["bytes"][:16] + (60_000).to_bytes(4, "big") * 2 + picture["bytes"][24:29]
        return {
            "bytes": head + zlib.crc32(head[12:29]).to_bytes(4, "big") + picture["bytes"][33:],
            "path": None,
        }

    edit(folder, image=huge)
    assert "60,000 by 60,000 pixels" in refused()


def test_pictures_that_are_huge_together(folder, refused, monkeypatch):
    """Each may be so large; all of them may not."""
    edit(folder, image=png((4096, 4096)), more_images=[png((4096, 4096))] * 40)
    assert "too many pixels" in refused(limit_bytes=100_000_000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        png()["bytes"][:-30],
        png(mode="P")["bytes"],
        png(mode="RGBA")["bytes"],
        b"<svg onload='alert(1)'/>",
        pickle.dumps([1]),
        None,
    ],
    ids=range(8),
)
def test_what_is_no_plain_picture(folder, refused, data):
    edit(folder, more_images=[{"bytes": data, "path": "/etc/passwd"}])
    assert "picture" in refused()


def test_a_jpeg_is_no_png(folder, refused):
    file = io.BytesIO()
    Pictures.new("RGB", (8, 8)).save(file, "JPEG")
    edit(folder, image={"bytes": file.getvalue(), "path": "x.png"})
    assert "no PNG" in refused()


def test_previews_that_no_step_lists(folder, refused):
    edit(folder, previews=lambda previews: [*previews, png()])
    assert "previews are not those" in refused()


def test_previews_of_several_sizes(folder, refused):
    edit(folder, previews=lambda previews: [png((8, 8)), *previews[1:]])
    assert "several sizes" in refused()


# -- parameters and other numbers --


@pytest.mark.parametrize(
    "change",
    [
        {"guidance_scale": float("nan")},
        {"guidance_scale": float("inf")},
        {"guidance_scale": "Infinity"},
        {"num_inference_steps": 10**9},
        {"num_inference_steps": "30"},
        {"seed": -(2**70)},
        {"seed": 2**70},
        {"width": 10**9},
        {"num_images_per_prompt": 10**6},
        {"prompt": ["a", "b"]},
        {"prompt": None},
        {"prompt": "x" * 200_000},
        {"model": {"$ref": "x"}},
        {"scheduler": 5},
        {"__class__": "os.system"},
        {"prompt": "a\ud800b"},
        {"prompt": "a\x00b"},
    ],
)
def test_parameters_that_are_nonsense(folder, refused, change):
    edit_manifest(folder, lambda data: data["params"].update(change))
    message = refused()
    assert any(words in message for words in ("params", "parameter", "is no text", "no proper JSON"))


def test_a_number_that_overflows(folder, refused):
    edit(folder, manifest=lambda text: text.replace("1.1", "1e999", 1))
    assert "no proper JSON" in refused()


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "[]", "null", "9" * 10_000, None, '{"id": NaN}'])
def test_a_manifest_that_is_none(folder, refused, text):
    edit(folder, manifest=text)
    assert "manifest" in refused()


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"format": "1"},
        {"status": "<b>"},
        {"status": None},
        {"created": "yesterday"},
        {"created": 5},
        {"steps": 7},
        {"steps": "3"},
        {"total_steps": 10**12},
        {"initial_sigma": []},
        {"seconds": "soon"},
        {"cosine_to_end": [0.1]},
        {"cosine_to_end": {"a": 1}},
        {"provenance": "x"},
        {"provenance": {"missing": "x"}},
        {"provenance": {"missing": {"x0_pred": ["x"]}}},
        {"provenance": {"missing": {"x0_pred": "x" * 5000}}},
        {"provenance": {"missing": {str(n): "x" for n in range(500)}}},
        {"capture": None},
        {"error": "boom"},
        {"error": {"code": 1, "message": "x"}},
    ],
)
def test_a_manifest_with_fields_of_other_kinds(folder, refused, change):
    edit_manifest(folder, lambda data: data.update(change))
    refused()


@pytest.mark.parametrize(
    "fields",
    [
        {"index": 0},
        {"index": "../../evil"},
        {"index": 10**9},
        {"previews": 10**9},
        {"previews": -1},
        {"arrays": ["../evil"]},
        {"arrays": ["latents", "latents"]},
        {"arrays": "latents"},
        {"sigma": "high"},
        {"arrays": ["latents", "other_preds/"]},
        {"arrays": ["other_preds/../evil"]},
        {"arrays": ["other_preds/" + "a" * 33]},
        {"arrays": [f"other_preds/a{i}" for i in range(9)]},
        {"arrays": [5]},
        {"metrics": {"norm": "<b>"}},
        {"metrics": []},
    ],
)
def test_lines_that_are_none(folder, refused, fields):
    edit_line(folder, **fields)
    assert "line 2 of steps.jsonl is damaged" in refused()


def test_more_steps_than_any_run_has(folder, refused):
    edit(folder, steps_jsonl="{}\n" * 100_000)
    assert "steps" in refused()


@pytest.mark.parametrize(
    "marks",
    [
        '{"name": 5}',
        '{"tags": "x"}',
        '{"note": "%s"}' % ("x" * 20_000),
        "[]",
        '{"path": "/etc"}',
        '{"locked": 1}',
        '{"format": 2}',
        '{"format": "1"}',
        "{",
    ],
)
def test_marks_that_are_nonsense(folder, refused, marks):
    edit(folder, marks=marks)
    assert "marks" in refused()


# -- tensors --


def claiming(dtype, shape, end, size):
    """Bytes whose header claims a tensor of latents."""
    about = {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}
    return with_header({"__metadata__": META, "latents": about}, bytes(size))


def with_header(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


META = {"steps": '{"latents": [0]}'}


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\xff" * 8,
        (1 << 40).to_bytes(8, "little") + b"{}",
        with_header(b"{" + b" " * 2_000_000 + b"}"),
        with_header(b"[" * 1000),
        with_header({}),
        pickle.dumps(np.zeros(3)),
        claiming("F32", [1, 2**40], 4, 4),
        claiming("F32", [1, 4], 16, 4),
        claiming("F32", [-1, -4], 16, 16),
        claiming("BOOL", [1, 4], 4, 4),
        save({"../evil": np.zeros((1, 4), np.float32)}, {"steps": '{"../evil": [0]}'}),
        save({"other_preds/../evil": np.zeros((1, 4), np.float32)}, {"steps": '{"other_preds/../evil": [0]}'}),
        save({"weights": np.zeros((1, 4), np.float32)}, {"steps": '{"weights": [0]}'}),
        save({"latents": np.zeros((1, 4), np.int64)}, META),
        save({"latents": np.zeros((2, 4), np.float32)}, META),
        save({"latents": np.zeros((2, 4), np.float32)}, {"steps": '{"latents": [0, 0]}'}),
        save({"latents": np.zeros((1, 4), np.float32)}, {"steps": '{"latents": [-1]}'}),
        save({"latents": np.zeros((1, 4), np.float32)}, {"steps": '{"latents": ["0"]}'}),
        save({"latents": np.zeros((1, 4), np.float32)}),
    ],
    ids=range(20),
)  # fmt: skip
def test_tensors_that_are_none(folder, refused, blob):
    edit(folder, latents=blob)
    assert "tensors" in refused()


def test_tensors_that_no_step_lists(folder, refused):
    edit(folder, predictions=None)
    assert "tensors are not those of its steps" in refused()


# -- a row per state --


def test_states_out_of_order(states, refused):
    table = pq.read_table(states / FILE)
    for order in ([0, 2, 1, 3], [1, 2, 3], [0, 5, 1, 2, 3], [0, 1, 1, 2, 3]):
        pq.write_table(table.take(order), states / FILE)
        assert "not in order" in refused(states)


def test_states_that_are_missing_at_the_end(states, refused):
    pq.write_table(pq.read_table(states / FILE).slice(0, 3), states / FILE)
    assert "number of steps" in refused(states)


def test_tensors_of_another_state(states, refused):
    table = pq.read_table(states / FILE)
    edit(states, row=1, latents=table["latents"][2].as_py())
    assert "of another" in refused(states)


def test_two_lines_in_one_state(states, refused):
    edit(states, row=1, steps_jsonl=lambda line: line * 2)
    refused(states)
