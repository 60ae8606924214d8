"""Scripts that import by the names of an earlier version."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import diffatlas
from diffatlas.moved import MOVED


@pytest.mark.parametrize(("earlier", "today"), MOVED.items())
def test_the_earlier_name_is_the_module_of_today(earlier, today):
    sys.modules.pop(f"diffatlas.{earlier}", None)
    with pytest.warns(DeprecationWarning, match=f"diffatlas.{earlier} is now diffatlas.{today}"):
        found = importlib.import_module(f"diffatlas.{earlier}")
    assert found is importlib.import_module(f"diffatlas.{today}")
    assert found.__name__ == f"diffatlas.{today}"


def test_no_earlier_name_hides_a_module():
    names = {
        module.name.removeprefix("diffatlas.")
        for module in pkgutil.walk_packages(diffatlas.__path__, "diffatlas.")
    }
    assert not names & set(MOVED)


def test_a_script_of_before_runs():
    script = (
        "from diffatlas.export.kinds import export, KINDS\n"
        "from diffatlas.library.dataset import export_dataset\n"
        "from diffatlas.operations.plan_sweep import plan_sweep\n"
        "import diffatlas.export.tables as earlier, diffatlas.formats.tables.runs as today\n"
        "assert earlier is today\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
