"""A run of the shell that begins from a picture."""

from PIL import Image

from diffatlas import open_run
from diffatlas.cli import run


def test_a_run_begins_from_a_picture(tmp_path, capsys):
    Image.new("RGB", (64, 64), "navy").save(tmp_path / "start.png")
    Image.new("L", (64, 64), 255).save(tmp_path / "mask.png")
    (tmp_path / "text.png").write_text("no picture")
    start = ["trace", "a red circle", "--steps", "4", "--image", str(tmp_path / "start.png")]
    for more, names in (([], ["image"]), (["--mask", str(tmp_path / "mask.png")], ["image", "mask_image"])):
        out = tmp_path / f"run{len(names)}"
        assert run([*start, *more, "--strength", "0.5", "--out", str(out)]) == 0
        capsys.readouterr()
        stored = open_run(out)
        assert [one.name for one in stored.params.inputs] == names
        assert (stored.params.extra, len(stored.steps)) == ({"strength": 0.5}, 2)
    wide = tmp_path / "wide.png"
    Image.new("RGB", (200, 100), "navy").save(wide)
    out = tmp_path / "cropped"
    assert run([*start[:-1], str(wide), "--width", "64", "--height", "96", "--out", str(out)]) == 0
    (picture,) = open_run(out).params.inputs
    assert (picture.width, picture.height) == (64, 96)
    capsys.readouterr()
    for wrong in (
        [*start[:-1], str(wide), "--mask", str(tmp_path / "mask.png")],
        [*start[:-1], str(tmp_path / "text.png")],
        [*start[:-1], str(tmp_path / "nowhere.png")],
        [*start[:-2], "--strength", "0.5"],
        [*start, "--strength", "2"],
    ):
        assert run(wrong) == 2
        assert capsys.readouterr().err.count("\n") == 1
