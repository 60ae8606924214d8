"""What a stranger may put into a dataset: each is refused with its reason, and nothing comes in."""

import os
import pickle
import subprocess

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save

from diffatlas.formats.dataset import rows as dataset_rows
from diffatlas.formats.dataset.read import import_dataset
from diffatlas.library import Library
from tests.formats.dataset.dataset_damage import FILE, edit, edit_manifest
from tests.formats.dataset.dataset_runs import PACKED, WHOLE


def test_the_good_ones_come_in(folder, states, tmp_path):
    for number, source in enumerate((folder, states)):
        assert import_dataset(Library(tmp_path / f"runs{number}"), source) == [PACKED, WHOLE]


@pytest.mark.usefixtures("ready_reader")
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


@pytest.mark.usefixtures("ready_reader")
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
    monkeypatch.setattr(dataset_rows.parquet_process, "__file__", str(crash))
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
