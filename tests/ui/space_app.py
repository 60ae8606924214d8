"""A program: app.py as a Space with ZeroGPU starts it, on a machine without CUDA. It notes whom it connects to."""

import os
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CALLED = Path(os.environ["CALLED"])


def note(event, given):
    if event == "socket.connect" and isinstance(given[1], tuple):
        with CALLED.open("a") as file:
            print(given[1][0], file=file)


sys.addaudithook(note)
sys.path.insert(0, str(ROOT))

import gradio.oauth  # noqa: E402
import huggingface_hub.constants  # noqa: E402

from diffatlas.backends import zerogpu  # noqa: E402
from tests import fake_zerogpu  # noqa: E402

for name in ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL"):
    # They are read at an import, which this process may have been copied after.
    setattr(gradio.oauth, name, os.environ[name])
huggingface_hub.constants.ENDPOINT = os.environ["HF_ENDPOINT"]
huggingface_hub.constants.HF_HUB_OFFLINE = False
fake_zerogpu.without_cuda()
begin = zerogpu.ZeroGpuBackend.__init__
zerogpu.ZeroGpuBackend.__init__ = lambda self, device: begin(self, "cpu")
runpy.run_path(str(ROOT / "app.py"), run_name="__main__")
