"""Settings from the environment (``DIFFATLAS_...``)."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_data_path
from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from diffatlas.errors import InvalidParams


def _bytes(value: Any) -> Any:
    """Read "5e9" as a whole number of bytes."""
    try:
        return int(float(value)) if isinstance(value, str) else value
    except (ValueError, OverflowError):
        return value


class Settings(BaseSettings):
    """What an installation decides once. Every field can be set as ``DIFFATLAS_<FIELD>``."""

    model_config = SettingsConfigDict(env_prefix="DIFFATLAS_", frozen=True)

    #: Where runs are kept.
    library: Path = Field(default_factory=lambda: user_data_path("diffatlas", appauthor=False) / "runs")
    #: Bytes that the library may take before the runs that were used least recently are deleted; 0 for no limit.
    #: Locked, noted and tagged runs stay.
    library_cap: Annotated[int, BeforeValidator(_bytes)] = Field(default=5_000_000_000, ge=0)
    #: Whose runs a page shows: "personal" everybody's, "shared" each visitor's own; "auto" is "shared" on a
    #: Hugging Face Space.
    mode: Literal["auto", "personal", "shared"] = "auto"
    #: A folder of registries that replaces the one that ships with the project.
    models: Path | None = None
    #: The user's own registry, which `diffatlas models add` writes.
    user_models: Path = Field(
        default_factory=lambda: user_data_path("diffatlas", appauthor=False) / "models.md"
    )
    #: "auto" takes CUDA, then Apple's MPS, then the CPU.
    device: str = "auto"
    #: "auto" takes what the model and the device want.
    dtype: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    #: Load a model even where it is expected not to fit the free memory.
    ignore_memory: bool = False
    #: Of the backend "ray": the address of a cluster ("auto" or host:port), or a number of workers on this machine.
    ray: str | None = None
    #: Seconds that a run may be expected to take before it is asked for twice; on a shared server it is refused.
    #: None for 120, or 60 on a shared server; 0 for no bound.
    most_seconds: float | None = Field(default=None, ge=0)
    #: The same of its memory in bytes, besides the model. None for half of what is free, or a quarter on a shared
    #: server; 0 for no bound.
    most_memory: Annotated[int | None, BeforeValidator(_bytes)] = Field(default=None, ge=0)
    #: On a shared server, bytes of what one visitor may keep: runs (with locked, noted and tagged ones, and the trash),
    #: files that the pages show and offer, files that they upload in a day; and of one upload.
    visitor_library: Annotated[int, BeforeValidator(_bytes)] = Field(default=500_000_000, ge=1)
    visitor_files: Annotated[int, BeforeValidator(_bytes)] = Field(default=200_000_000, ge=1)
    visitor_uploads: Annotated[int, BeforeValidator(_bytes)] = Field(default=200_000_000, ge=0)
    upload_bytes: Annotated[int, BeforeValidator(_bytes)] = Field(default=20_000_000, ge=0)
    #: Other addresses of providers of hosted models, as JSON: {"replicate": "http://127.0.0.1:9000"}. Keys go there.
    hosted_urls: dict[str, str] = Field(default_factory=dict)
    #: Images of hosted models that may be paid for in a day here; 0 for no cap. Where they are counted, a file.
    hosted_cap: int = Field(default=200, ge=0)
    hosted_ledger: Path = Field(
        default_factory=lambda: user_data_path("diffatlas", appauthor=False) / "hosted.sqlite"
    )
    #: So many images of hosted models at once are asked for twice; 0 for never.
    hosted_confirm: int = Field(default=20, ge=0)
    #: On a shared server, whether the host's keys serve its visitors; and images in a day of one visitor, and of all.
    hosted_for_visitors: bool = False
    hosted_visitor_images: int = Field(default=10, ge=0)
    hosted_daily_images: int = Field(default=100, ge=0)
    #: The address of another Atlas that models can run on, such as https://host:port. Its token,
    #: DIFFATLAS_REMOTE_TOKEN, is read where it is sent and nowhere else, as DIFFATLAS_TOKEN is where it is asked for.
    remote_url: str | None = None
    #: The app on Modal: its name, its environment there ("" for the account's own), its kind of GPU ("" for none;
    #: "H100:2" for two), and how many containers with one there may be, which is how many runs are under way at once.
    modal_app: str = "diffatlas"
    modal_environment: str = ""
    modal_gpu: str = "A10"
    modal_containers: int = Field(default=1, ge=1)
    #: Of each container: cores, MiB of memory, seconds that it waits for another run, seconds that a run may take, and
    #: whether Modal takes a snapshot of it once its libraries are loaded, from which the next ones start.
    modal_cores: float = Field(default=2.0, gt=0)
    modal_memory: int = Field(default=16384, ge=1024)
    modal_idle: int = Field(default=60, ge=2)
    modal_timeout: int = Field(default=1800, ge=10)
    modal_snapshot: bool = False
    #: The name of a secret on Modal whose variables the containers get, such as one with HF_TOKEN.
    modal_secret: str = ""
    #: Who may open the page on Modal: nobody, so that there is none; who has the password; or everybody.
    modal_page: Literal["none", "password", "public"] = "none"
    #: Seconds that a run waits for a container; US dollars from which what it may cost is asked for twice, 0 for never.
    modal_wait: float = Field(default=600, gt=0)
    modal_confirm: float = Field(default=1.0, ge=0)
    #: The file of a workshop, which decides pages, models, presets, lessons and values (docs/workshops.md).
    workshop: Path | None = None
    #: The address under which others reach the app, where it is not that of this machine, such as behind a proxy.
    address: str = ""
    #: On a Hugging Face Space with ZeroGPU: the most seconds that a run may ask a GPU for.
    zerogpu_seconds: int = Field(default=120, ge=1)
    #: Whether the app is an MCP server too, which agents call.
    mcp: bool = False
    #: On a shared server, whether its visitors may run models on the host's other Atlas, Modal account or Ray cluster.
    elsewhere_for_visitors: bool = False
    #: Hold each answer to a page against its type, and fail where it differs: for tests.
    check_answers: bool = False


def settings() -> Settings:
    """Read the environment. Raises `InvalidParams` naming the variable that is wrong."""
    try:
        return _read(tuple(os.environ.items()))
    except ValidationError as error:
        first = error.errors()[0]
        name = "DIFFATLAS_" + "_".join(str(part) for part in first["loc"]).upper()
        raise InvalidParams(f"The environment variable {name} is not usable: {first['msg']}.") from error


@lru_cache(maxsize=8)
def _read(environment: tuple[tuple[str, str], ...]) -> Settings:
    """Read the environment, once as long as no variable changes: it takes 2 ms, and the app asks a thousand times."""
    return Settings()


def check_hub_token() -> None:
    """Raise `InvalidParams` where HF_TOKEN holds what no token does, and so cannot be sent to the Hub."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        token = os.environ.get(name, "").strip()
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            raise InvalidParams(
                f"The environment variable {name} is no token of the Hugging Face Hub: it holds a line break, a space "
                "or a letter that none has. Copy it again from huggingface.co/settings/tokens, or unset it.",
                field="token",
            )


def is_shared() -> bool:
    """Whether visitors are strangers to each other: DIFFATLAS_MODE, by default on a Hugging Face Space only."""
    mode = settings().mode
    return bool(os.environ.get("SPACE_ID")) if mode == "auto" else mode == "shared"
