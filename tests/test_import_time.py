import json
import os
import re
import subprocess
import sys
from pathlib import Path

CODE = """
import json, resource, sys
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
before = cpu()
import diffatlas
seconds = cpu() - before
print(json.dumps({"seconds": seconds, "modules": sorted(m.split(".")[0] for m in sys.modules)}))
"""


def measure():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_importing_is_light():
    """Under 0.3 s of CPU time: the bound is the issue's, and a hundred times what the import takes."""
    results = [measure() for _ in range(3)]
    heavy = {"torch", "diffusers", "transformers", "gradio", "umap", "sklearn", "plotly", "pydantic", "numpy"}
    assert not heavy & set(results[0]["modules"])
    assert min(r["seconds"] for r in results) < 0.3


def test_the_version_is_that_of_the_package():
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^version = "(.*)"$', text, re.MULTILINE)[1] == __import__("diffatlas").__version__


def test_every_public_name_resolves():
    import diffatlas

    for name in diffatlas.__all__:
        assert getattr(diffatlas, name) is not None
    assert set(diffatlas.__all__) <= set(dir(diffatlas))


def test_threads_are_told_to_sleep_before_torch_is_imported():
    code = "import sys, os, diffatlas.ui.app; print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["False", "PASSIVE"]
