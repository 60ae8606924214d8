"""What a Space installs: ``python -m tests.space_requirements`` writes requirements.txt.

A Space sees that file alone when it installs, and no other one of the repository. It says what pyproject.toml says, in
the versions of constraints.txt. Beside it a Space installs ``gradio[oauth,mcp]`` in the version of README.md, whose
``mcp`` wants an older pydantic than the tests run on: that one is left open.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
OPEN = {"pydantic"}


def wanted() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    pinned = {plain(name): version for name, version in lines}
    asked = sorted([*project["dependencies"], *project["optional-dependencies"]["space"]])
    return "# Written by python -m tests.space_requirements.\n" + "".join(
        f"{one}\n" if (name := name_of(one)) in OPEN else f"{name}=={pinned[plain(name)]}\n" for one in asked
    )


def name_of(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0]


def plain(name: str) -> str:
    return name.lower().replace("_", "-")


if __name__ == "__main__":
    (ROOT / "requirements.txt").write_text(wanted())
