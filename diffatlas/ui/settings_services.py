"""What the Settings page asks of the server: models and their defaults, this machine, the library, the environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from diffatlas.backends.elsewhere import TOKEN
from diffatlas.backends.fitting import memory_of
from diffatlas.operations.trace import shared_local_backend
from diffatlas.registry import HostedModel, ModelEntry
from diffatlas.request import MAX_STEPS
from diffatlas.settings import Settings, settings
from diffatlas.ui import chosen_model, elsewhere, places
from diffatlas.ui.answers import answered
from diffatlas.ui.atlas_services import AtlasServices
from diffatlas.ui.components import form as forms
from diffatlas.ui.guidance_values import guidance_values, kind_of
from diffatlas.ui.key_services import KeyServices
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.places import needed_by
from diffatlas.ui.wire.kinds import Nothing
from diffatlas.ui.wire.settings import (
    Cleared,
    Defaults,
    Fits,
    Kept,
    MachineOf,
    ModelAsked,
    Places,
    Variable,
    Variables,
)

#: What each setting of the environment decides, by its field of `Settings`.
ABOUT = {
    "workshop": "The file of a workshop.",
    "mcp": "Whether agents are served too, at /mcp.",
    "address": "The address under which others reach this server.",
    "library": "Where runs are kept.",
    "library_cap": "Bytes that runs may take before the least used are deleted; 0 for no limit.",
    "mode": "Whose runs a page shows: personal, shared, or auto.",
    "models": "A folder of model lists in place of those that come along.",
    "user_models": "Your own list of models.",
    "device": "Where models run: cuda, mps, cpu, or auto.",
    "dtype": "What models run in: fp32, fp16, bf16, or auto.",
    "ignore_memory": "Load a model even where it should not fit.",
    "most_seconds": "Seconds that a run may be expected to take before you are asked.",
    "most_memory": "Bytes that a run may be expected to take besides its model.",
    "visitor_library": "On a shared server, bytes of runs that a visitor may keep.",
    "visitor_files": "On a shared server, bytes of files that a visitor may have.",
    "visitor_uploads": "On a shared server, bytes that a visitor may send in a day.",
    "upload_bytes": "On a shared server, bytes of one file that is sent.",
    "hosted_urls": "Other addresses of providers of hosted models.",
    "hosted_cap": "Images of hosted models that may be paid for in a day; 0 for no cap.",
    "hosted_ledger": "Where those images are counted.",
    "hosted_confirm": "So many images of hosted models at once are asked for twice; 0 for never.",
    "hosted_for_visitors": "On a shared server, whether the host’s keys serve its visitors.",
    "hosted_visitor_images": "On a shared server, images of a day with the host’s keys, of one visitor.",
    "hosted_daily_images": "On a shared server, images of a day with the host’s keys, of all visitors.",
    "remote_url": "The address of another Atlas that models can run on.",
    "ray": "The address of a Ray cluster that models can run on, or a number of workers here.",
    "modal_app": "The name of the app on Modal that models can run on.",
    "modal_environment": "The environment of that app in the account; empty for the account’s own.",
    "modal_gpu": "The kind of GPU that it is deployed with, as Modal names it; empty for none.",
    "modal_containers": "Containers with a GPU at most, and runs that are under way there at once.",
    "modal_cores": "Cores of each container.",
    "modal_memory": "MiB of memory of each container.",
    "modal_idle": "Seconds that a container waits for another run, and is paid for.",
    "modal_timeout": "Seconds that a run there may take.",
    "modal_snapshot": "Whether Modal keeps a container’s memory with its libraries loaded, to start from.",
    "modal_secret": "A secret on Modal whose variables the containers get.",
    "modal_page": "Who may open the page on Modal: none, password, or public.",
    "modal_wait": "Seconds that a run waits for a container.",
    "modal_confirm": "Dollars from which what runs on Modal may cost is asked for twice; 0 for never.",
    "elsewhere_for_visitors": "On a shared server, whether visitors may run on the host’s other Atlas, Modal or Ray.",
    "zerogpu_seconds": "On a Space with ZeroGPU, the most seconds that a run may ask a GPU for.",
    "check_answers": "Hold each answer to a page against its type.",
}
#: Those that a visitor of a shared server is told: what they may do there, and not where anything lies.
OF_VISITORS = (
    "most_seconds", "most_memory", "visitor_library", "visitor_files", "visitor_uploads", "upload_bytes",
    "hosted_for_visitors", "hosted_visitor_images", "hosted_daily_images", "elsewhere_for_visitors", "device", "dtype",
)  # fmt: skip


class SettingsServices:
    """The server's side of the Settings page. ``functions`` are what the browser may call."""

    def __init__(self, libraries: Libraries, keys: KeyServices, atlas: AtlasServices | None = None) -> None:
        self._libraries = libraries
        self._keys = keys
        self._atlas = atlas or AtlasServices()

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        return {
            "settings_places": self.places,
            "settings_model": self.model,
            **self._keys.calls,
            **self._atlas.calls,
            "settings_machine": self.machine,
            "settings_library": self.library,
            "library_clear": self.clear,
            "settings_variables": self.variables,
        }

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """`calls` as the functions of a component."""
        return [answered(name, call) for name, call in self.calls.items()]

    def places(self, visitor: str, asked: Nothing) -> Places:
        """Return the places where models run, with their models."""
        # The others would be started by that, and paid for: they say it once they are chosen.
        elsewhere.learn_models("remote", self._atlas.held(visitor))
        return {
            "backends": [
                {"id": one, "name": name, "models": [_choice(entry) for entry in places.models_of(one)]}
                for one, name in places.offered()
            ]
        }

    def model(self, visitor: str, asked: ModelAsked) -> Defaults:
        """Return what a model is run with unless something else is asked, and what is to be known of it."""
        if asked.backend == places.LOCAL and asked.model.strip():
            chosen = chosen_model.choose(asked.model)
            entry, notes = chosen.entry, chosen.line
        else:
            elsewhere.learn_models(asked.backend, self._atlas.held(visitor), anew=True)
            entry = places.entry_of(asked.backend, asked.model)
            notes = entry.notes
        own = _local if places.place_of(entry) == places.LOCAL else _elsewhere
        told = _hosted(entry) if isinstance(entry, HostedModel) else own(entry)
        return {"backend": asked.backend, "model": entry.id, "name": entry.name, "notes": notes, **told}

    def machine(self, visitor: str, asked: Nothing) -> MachineOf:
        """Return what models run on here, and which of the list would fit."""
        backend = shared_local_backend()
        resident, device = backend.resident, backend.device
        memory = memory_of(device, resident)
        return {
            "device": device,
            "dtype": resident.dtype if resident is not None else backend.dtype,
            "free": memory.free,
            "total": memory.total,
            "models": [
                _fits(entry, backend, device, memory.free) for entry in places.models_of(places.LOCAL)
            ],
        }

    def library(self, visitor: str, asked: Nothing) -> Kept:
        """Return what the visitor's library takes."""
        library = self._libraries.of(visitor)
        usage, loose = library.usage(), library.loose()
        return {
            "folder": None if self._libraries.shared else str(library.folder),
            "runs": usage.runs,
            "bytes": usage.bytes,
            "cap": usage.cap,
            "loose_runs": loose.runs,
            "loose_bytes": loose.bytes,
            "served": library.served,
            "expires": self._libraries.expires(visitor),
        }

    def clear(self, visitor: str, asked: Nothing) -> Cleared:
        """Delete the visitor's runs that nobody asked to keep."""
        gone = self._libraries.of(visitor).clear()
        return {"deleted": len(gone), "kept": self.library(visitor, asked)}

    def variables(self, visitor: str, asked: Nothing) -> Variables:
        """Return what the installation's environment decides, without secrets."""
        chosen, shared = settings(), self._libraries.shared
        names = OF_VISITORS if shared else tuple(Settings.model_fields)
        found = [_variable(name, getattr(chosen, name)) for name in names]
        if not shared:
            found += [
                _secret(name, f"The key of {provider.label}.")
                for provider in places.providers()
                for name in provider.variables
            ]
            found.append(_secret("HF_TOKEN", "The token of the Hugging Face Hub."))
            found.append(_secret(TOKEN, "The token of another Atlas."))
        return {"variables": list({one["name"]: one for one in found}.values())}


def _choice(entry: ModelEntry) -> Any:
    return {"id": entry.id, "name": entry.name}


def _local(entry: ModelEntry) -> Any:
    info = forms.known(shared_local_backend().info, entry.id)
    width, height = (info.width, info.height) if info else (entry.size, entry.size)
    guidance = 5.0 if entry.guidance is None else entry.guidance
    warnings = []
    if not guidance_values(kind_of(entry.id), entry.guidance):
        warnings.append(
            f"{entry.name} is made to run without guidance: another value than {guidance:g} is ignored, or spoils the "
            "image."
        )
    return {
        "steps": entry.steps or 30,
        "steps_range": (1.0, float(MAX_STEPS)),
        "guidance": guidance,
        "guidance_range": None,
        "size": f"{width}x{height}" if width and height else None,
        "sides": None,
        "taken": ["steps", "guidance", "size"],
        "warnings": warnings,
    }


def _elsewhere(entry: ModelEntry) -> Any:
    return {
        "steps": entry.steps or 30,
        "steps_range": (1.0, float(MAX_STEPS)),
        "guidance": 5.0 if entry.guidance is None else entry.guidance,
        "guidance_range": None,
        "size": f"{entry.size}x{entry.size}" if entry.size else None,
        "sides": None,
        "taken": ["steps", "guidance", "size"],
        "warnings": [],
    }


def _hosted(entry: HostedModel) -> Any:
    takes, warnings = entry.has, []
    if not takes("guidance"):
        warnings.append(
            f"{entry.name} takes no guidance scale: what a form asks is not sent, and the result says so."
        )
    if not takes("steps"):
        warnings.append(f"{entry.name} takes no number of steps: it makes its own.")
    if not takes("seed"):
        warnings.append(f"{entry.name} takes no seed: the same request makes another image each time.")
    if entry.takes is None:
        warnings.append(
            "This model is not in the list: what it takes is not known, and all that is asked is sent."
        )
    sides = None
    if entry.takes is None:
        sides = None
    elif takes("size") and entry.sides:
        least, most, multiple = entry.sides
        sides = f"{least} to {most} pixels" + (f", in steps of {multiple}" if multiple > 1 else "")
    elif not takes("size"):
        sides = "a shape, and no size in pixels" if takes("aspect") else "the model’s own size"
    if (price := entry.dollars()) is not None:
        warnings.append(
            f"An image costs about ${price:g}, as the list has it; the provider’s own page is right."
        )
    return {
        "steps": entry.steps if takes("steps") else None,
        "steps_range": entry.steps_range if takes("steps") else None,
        "guidance": entry.guidance if takes("guidance") else None,
        "guidance_range": entry.guidance_range if takes("guidance") else None,
        "size": f"{entry.size}x{entry.size}" if entry.size else None,
        "sides": sides,
        "taken": [
            name
            for name in ("steps", "guidance", "size")
            if takes(name) or (name == "size" and takes("aspect"))
        ],
        "warnings": warnings,
    }


def _fits(entry: ModelEntry, backend: Any, device: str, free: int) -> Fits:
    loaded, needed = backend.is_loaded(entry.id), needed_by(entry, backend, device)
    fits = True if loaded else None if needed is None else needed <= free
    return {"id": entry.id, "name": entry.name, "needed": needed, "fits": fits, "loaded": loaded}


def _variable(name: str, value: Any) -> Variable:
    variable = f"DIFFATLAS_{name.upper()}"
    if name == "remote_url":
        value = _host(value) if value else None
    if isinstance(value, dict):
        # An address may have a name and a password in it.
        value = ", ".join(f"{one}: {_host(address)}" for one, address in value.items()) or None
    shown = "not set" if value is None else "on" if value is True else "off" if value is False else str(value)
    return {"name": variable, "value": shown, "about": ABOUT.get(name, ""), "given": variable in os.environ}


def _host(address: str) -> str:
    """Return scheme and host of an address, and its port, and nothing else of it."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _secret(name: str, about: str) -> Variable:
    given = bool(os.environ.get(name, "").strip())
    return {"name": name, "value": "set" if given else "not set", "about": about, "given": given}
