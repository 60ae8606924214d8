"""Files that a page has sent to the server, and names afterwards."""

from __future__ import annotations

import time
from pathlib import Path

from gradio.utils import get_upload_folder

from diffatlas.errors import InvalidParams
from diffatlas.ui.private_files import is_private

#: Seconds in which a file that has arrived comes to its place.
ARRIVES = 5.0


def sent_file(name: str) -> Path:
    """Return the file that the server called so when it was sent (Gradio's ``upload``).

    It lies in a folder named by a hash of its content, which nobody knows who does not have the file.

    Raises `InvalidParams` for anything else, also for the files that the app has made.
    """
    root = Path(get_upload_folder()).resolve()
    path = Path(name) if "\0" not in name and len(name) < 4096 else root
    if path.parent.parent.resolve() == root and ".." not in path.parts and not is_private(name):
        end = time.monotonic() + ARRIVES
        while not path.is_file() and time.monotonic() < end:
            time.sleep(0.05)
        if path.is_file() and not path.is_symlink() and not path.parent.is_symlink():
            return path
    raise InvalidParams("This file was not sent to the server: choose it again.", field="source")
