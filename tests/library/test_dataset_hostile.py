"""What a stranger may put into a dataset: each is refused with its reason, and nothing comes in."""

import io
import json
import os
import pickle
import subprocess
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pictures
from safetensors.numpy import load, save

from diffatlas.library import Library, dataset_rows
from diffatlas.library.dataset import export_dataset
from diffatlas.library.dataset_import import import_dataset
from diffatlas.library.dataset_schema import RefusedDataset
from tests.library.dataset_runs import PACKED, WHOLE, events

FILE = "data/train-00000-of-00001.parquet"


@pytest.fixture
def own(tmp_path):
    library = Library(tmp_path / "own")
    for run in (events(PACKED, shape=(1, 16, 64), steps=3), events(WHOLE, steps=3)):
        list(library.record(run))
    return library


@pytest.fixture
def folder(own, tmp_path):
    return export_dataset(own, tmp_path / "d", [PACKED, WHOLE])


@pytest.fixture
def states(own, tmp_path):
    return export_dataset(own, tmp_path / "s", [PACKED, WHOLE], per="step")


@pytest.fixture
def refused(tmp_path, folder):
    """Import the folder and return why not; the library stays empty and nothing is written outside of it."""

    def check(what=folder, **options):
        before = {path for path in tmp_path.rglob("*") if "runs" not in path.parts}
        library = Library(tmp_path / "runs")
        with pytest.raises(RefusedDataset) as caught:
            import_dataset(library, what, **options)
        assert library.list() == []
        assert [path for path in library.folder.rglob("*") if path.is_dir()] == []
        assert {path for path in tmp_path.rglob("*") if "runs" not in path.parts} == before
        message = str(caught.value)
        assert "\n" not in message
        assert len(message) < 500
        return message

    return check


def edit(folder, row=1, **columns):
    """Write other values into a row, the second unless told: the first is a good run."""
    table = pq.read_table(folder / FILE)
    rows = table.to_pylist()
    for name, value in columns.items():
        rows[row][name] = value(rows[row][name]) if callable(value) else value
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / FILE)


def edit_manifest(folder, change, **options):
    def apply(text):
        data = json.loads(text)
        change(data)
        return json.dumps(data)

    edit(folder, manifest=apply, **options)


def edit_line(folder, **fields):
    def apply(text):
        lines = text.splitlines()
        lines[1] = json.dumps({**json.loads(lines[1]), **fields})
        return "".join(f"{line}\n" for line in lines)

    edit(folder, steps_jsonl=apply)


def png(size=(16, 16), mode="RGB"):
    file = io.BytesIO()
    Pictures.new(mode, size).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def test_the_good_ones_come_in(folder, states, tmp_path):
    for number, source in enumerate((folder, states)):
        assert import_dataset(Library(tmp_path / f"runs{number}"), source) == [PACKED, WHOLE]


@pytest.mark.parametrize(
    "run_id", ["../evil", "/tmp/evil", "..", ".hidden", "a/b", "a\\b", "x\n", "", "a" * 200, None]
)
def test_an_id_that_leaves_the_library(folder, refused, run_id):
    edit(folder, run_id=run_id)
    edit_manifest(folder, lambda data: data.update(id=run_id))
    assert "letters, digits" in refused()


def test_an_id_that_is_not_that_of_the_manifest(folder, refused):
    edit_manifest(folder, lambda data: data.update(id="../../evil"))
    assert "of another run" in refused()


def test_an_id_twice(folder, refused):
    table = pq.read_table(folder / FILE)
    pq.write_table(pa.concat_tables([table, table]), folder / FILE)
    assert "two runs" in refused()


@pytest.mark.parametrize(
    "name", ["model.pkl", "d.py", "data/x.pt", "weights.bin", "run.sh", "deep/er/x.npy", "x", "m.zip"]
)
def test_programs_and_pickles_beside_the_data(folder, refused, name):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(pickle.dumps({}))
    message = refused()
    assert name in message
    assert "only Parquet files" in message


def test_a_name_that_would_print_badly(folder, refused):
    (folder / "a\u202e\x1b[31mb.exe").write_bytes(b"")
    message = refused()
    assert "\x1b" not in message
    assert "\u202e" not in message


@pytest.mark.parametrize("where", [FILE, "README.md", "pictures"])
def test_links(folder, refused, tmp_path, where):
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "secret").write_text("secret")
    if (folder / where).exists():
        (folder / where).rename(tmp_path / "moved")
        (folder / where).symlink_to(tmp_path / "moved")
    else:
        (folder / where).symlink_to(target)
    assert "is a link" in refused()


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"PAR1" + os.urandom(4000) + b"PAR1", pickle.dumps(os.getcwd)]
)
def test_a_file_that_is_no_parquet(folder, refused, data):
    (folder / FILE).write_bytes(data)
    assert "no Parquet file" in refused()


def test_a_file_that_is_cut_short(folder, refused):
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:-100])
    assert "no Parquet file" in refused()


def test_a_byte_that_was_changed(folder, refused):
    """Also among random latents, where nothing else would tell: the pages carry checksums."""
    group = pq.ParquetFile(folder / FILE).metadata.row_group(0)
    column = next(c for i in range(group.num_columns) if (c := group.column(i)).path_in_schema == "latents")
    whole = (folder / FILE).read_bytes()
    place = column.data_page_offset + column.total_compressed_size // 2
    (folder / FILE).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    assert "is damaged" in refused()


def test_a_folder_without_data(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "not a dataset of Diffusion Atlas" in refused(tmp_path / "empty")


def test_a_dataset_of_something_else(refused, tmp_path):
    path = tmp_path / "other" / FILE
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"image": ["x"], "text": ["y"]}), path)
    assert "lacks columns" in refused(tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("latents", ["text", "text"]),
        ("manifest", [1, 2]),
        ("image", ["https://evil.example/x.png"] * 2),
        ("previews", [[b"x"], [b"y"]]),
        ("run_id", [[WHOLE], [PACKED]]),
    ],
)
def test_columns_of_other_types(folder, refused, name, values):
    table = pq.read_table(folder / FILE)
    pq.write_table(
        table.set_column(table.schema.get_field_index(name), name, pa.array(values)), folder / FILE
    )
    assert f"{name!r} is of another type" in refused()


def test_a_file_that_is_missing(folder, refused):
    (folder / FILE).rename(folder / "data" / "train-00000-of-00002.parquet")
    assert "not whole" in refused()


def test_files_of_two_exports(folder, refused):
    for name in ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet"):
        (folder / "data" / name).write_bytes((folder / FILE).read_bytes())
    assert "two exports" in refused()


# -- too much --


def test_more_bytes_than_allowed(folder, refused):
    assert "more than 1e-05 GB" in refused(limit_bytes=10_000)


def test_a_file_that_decompresses_to_too_much(folder, refused):
    """60 MB of zeros are a few kilobytes on the disk."""
    edit(
        folder,
        latents=save({"latents": np.zeros((1, 15_000_000), np.float32)}, {"steps": '{"latents": [0]}'}),
    )
    table = pq.read_table(folder / FILE)
    pq.write_table(table, folder / FILE, compression="zstd", use_dictionary=False)
    assert (folder / FILE).stat().st_size < 1_000_000
    assert "holds more than 0.02 GB" in refused(limit_bytes=20_000_000)


def test_a_value_that_is_there_once_and_meant_a_thousand_times(folder, refused):
    """A dictionary of one value of 1 MB, in 300 rows: the file says 1 MB."""
    table = pq.read_table(folder / FILE).slice(1, 1)
    table = pa.concat_tables([table] * 300)
    column = pa.array([b"x" * 1_000_000] * 300, pa.large_binary())
    table = table.set_column(table.schema.get_field_index("predictions"), "predictions", column)
    pq.write_table(table, folder / FILE, use_dictionary=True, row_group_size=300)
    group = pq.ParquetFile(folder / FILE).metadata.row_group(0)
    assert group.total_byte_size < 30_000_000
    # The first row is refused for what it holds; the rest is never decompressed.
    assert "tensors" in refused(limit_bytes=60_000_000)


def test_a_list_that_fills_the_memory(folder, tmp_path, refused, monkeypatch):
    """600 references to one picture of 1 MB in one row: the process that reads may not take 600 MB."""
    monkeypatch.setattr(dataset_rows, "READER_BYTES", 500 << 20)
    assert import_dataset(Library(tmp_path / "good-runs"), folder, limit_bytes=20_000_000) == [PACKED, WHOLE]
    table = pq.read_table(folder / FILE).slice(1, 1)
    data = pa.array([b"\x89PNG" + bytes(1_000_000)] * 600, pa.binary())
    items = pa.StructArray.from_arrays([data, pa.nulls(600, pa.string())], names=["bytes", "path"])
    previews = pa.ListArray.from_arrays(pa.array([0, 600], pa.int32()), items)
    table = table.set_column(table.schema.get_field_index("previews"), "previews", previews)
    pq.write_table(
        table, folder / FILE, use_dictionary=True, data_page_size=1 << 30, dictionary_pagesize_limit=1 << 24
    )
    assert (folder / FILE).stat().st_size < 3_000_000
    refused(limit_bytes=20_000_000)


def test_a_list_without_end(folder, refused):
    """20 million nothings are a few bytes."""
    table = pq.read_table(folder / FILE).slice(1, 1)
    kind = table.schema.field("previews").type
    nothing = pa.nulls(20_000_000, kind.value_type)
    previews = pa.ListArray.from_arrays(pa.array([0, 20_000_000], pa.int32()), nothing)
    table = table.set_column(table.schema.get_field_index("previews"), "previews", previews.cast(kind))
    pq.write_table(table, folder / FILE)
    assert "too many pictures" in refused()


def test_a_reader_that_crashes_is_a_refusal(folder, refused, monkeypatch, tmp_path):
    """What kills the parser kills its process, not this one."""
    crash = tmp_path / "crash.py"
    crash.write_text("import os; os.abort()")
    monkeypatch.setattr(dataset_rows.dataset_reader, "__file__", str(crash))
    assert "cannot be read" in refused()


def test_the_reader_knows_no_keys(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    seen = {}
    popen = subprocess.Popen

    def start(*arguments, env, **options):
        seen.update(env)
        return popen(*arguments, env=env, **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    import_dataset(Library(tmp_path / "runs"), folder)
    assert "PATH" in seen
    assert "hf_secret" not in str(seen)


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
        {"seed": -1},
        {"seed": 2**70},
        {"width": 10**6},
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
    assert "parameter" in message or "is no text" in message or "no proper JSON" in message


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


def test_latents_of_several_shapes(folder, refused):
    def cut(blob):
        found = load(blob)
        latents = found["latents"]
        tensors = found | {"latents": latents[:1, ..., :4].copy(), "latents.2": latents[1:]}
        return save(tensors, {"steps": '{"latents": [0], "latents.2": [1, 2, 3], "start_latents": [3]}'})

    edit(folder, latents=cut)
    assert "several shapes" in refused()


def test_a_start_of_another_shape(folder, refused):
    def swell(blob):
        found = load(blob)
        assert set(found) == {"latents", "start_latents"}
        tensors = found | {"start_latents": np.zeros((1, 9, 9), np.float32)}
        return save(tensors, {"steps": '{"latents": [0, 1, 2, 3], "start_latents": [3]}'})

    edit(folder, latents=swell)
    assert "several shapes" in refused()


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
