"""What decides the results of a pipeline in memory, as one hash: weights, configs, adapters, tokenizers, code.

The digest of the weights is taken where they lie, and anew whenever it is asked for, so that it is never that of
weights which have changed since: by a step of training, a fused LoRA, or a write past autograd.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from diffatlas.errors import CapabilityError
from diffatlas.params import is_plain

if TYPE_CHECKING:
    import torch

#: Whose code their version tells; of other code the source is hashed.
PACKAGES = ("diffusers", "transformers", "torch", "peft", "tokenizers")
#: Of a scheduler: what is set when it is built and by nothing later.
_TABLES = ("betas", "alphas", "alphas_cumprod", "final_alpha_cumprod")
#: Of a tokenizer, besides its rules.
_TOKENIZER = (
    "model_max_length",
    "padding_side",
    "truncation_side",
    "special_tokens_map",
    "added_tokens_encoder",
    "chat_template",
)
#: Of a module: what is hashed in other ways, or decides nothing of what it computes.
_NOT_STATE = frozenset({"name_or_path", "training"})
#: How the private attributes begin that turn adapters on and off.
_SWITCHES = ("_active", "_disable")


def digest_of(pipe: Any) -> str:
    """Return the SHA-256 (hex) of everything in a pipeline that decides its results, but for its scheduler's config.

    Of each tensor, type, shape, and two sums modulo 2^64 (Fletcher 1982) over its bytes as 64-bit words w_i, mixed to
    m_i = w_i xor (w_i >> 29): sum m_i and sum i m_i. They are exact on every device, so weights that are equal have one
    digest wherever they lie; they tell changes of every kind apart but those made to deceive.

    Raises `CapabilityError` where something decides the results that cannot be told: hooks, weights that are not here,
    code without a source, parts of an unknown kind.
    """
    digest = hashlib.sha256()
    parts = {name: part for name, part in sorted(_parts(pipe)) if part is not None}
    digest.update(_json({"pipeline": code_of(type(pipe)), "state": plain_state(pipe)}))
    for name, part in parts.items():
        digest.update(f"\0{name}\0".encode())
        for piece in _told(name, part):
            digest.update(piece)
    return digest.hexdigest()


def weight_sums(tensors: Sequence[torch.Tensor]) -> list[tuple[int, int]]:
    """Return (sum m_i, sum i m_i) modulo 2^64 of each tensor's bytes as mixed words m_i, i from 0; see `digest_of`."""
    import torch

    found = [_sums(tensor) for tensor in tensors]
    values: dict[int, list[int]] = {}
    for device in {sums[0].device for sums in found}:
        # One look at all of them, for which a GPU is waited for once.
        at = [i for i, sums in enumerate(found) if sums[0].device == device]
        together = torch.stack([part for i in at for part in found[i]]).tolist()
        values |= {i: together[2 * k : 2 * k + 2] for k, i in enumerate(at)}
    return [(values[i][0] % 2**64, values[i][1] % 2**64) for i in range(len(found))]


def _sums(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    data = tensor.detach().contiguous().view(-1)
    data = data.view(torch.uint8) if data.numel() else data.new_zeros(0, dtype=torch.uint8)
    if over := -data.numel() % 8:
        data = torch.cat([data, data.new_zeros(over)])
    try:
        words = data.view(torch.int64)
    except RuntimeError:  # Bytes that begin in the middle of a word.
        words = data.clone().view(torch.int64)
    places = _places(str(words.device))
    size, length = places.numel(), words.numel()
    plain, placed = words.new_zeros(()), words.new_zeros(())
    for start in range(0, length, size):
        chunk = words[start : start + size] if length > size else words
        mixed = (chunk >> 29).bitwise_xor_(chunk)
        part = mixed.sum()
        plain += part
        placed += part * start + mixed.mul_(places[: chunk.numel()]).sum()
    return plain, placed


@lru_cache(maxsize=4)
def _places(device: str) -> torch.Tensor:
    """Return the places of the words of a chunk: as many as fit a CPU's cache, or keep a GPU busy."""
    import torch

    return torch.arange(1 << (16 if device.startswith("cpu") else 24), device=device)


def stamp_of(pipe: Any) -> int:
    """Return a number that changes where a tensor of the pipeline is written to or exchanged; not past autograd."""
    import torch

    modules = [part for _, part in _parts(pipe) if isinstance(part, torch.nn.Module)]
    layers = (layer for module in modules for layer in module.modules())
    # What `parameters` and `buffers` give, without looking for those that are shared: this runs at each call.
    held = (x for layer in layers for x in (*layer._parameters.values(), *layer._buffers.values()))
    return hash(tuple((id(x), 0 if x.is_inference() else x._version) for x in held if x is not None))


def code_of(cls: type) -> str:
    """Return what pins the code of a class: its package's version, or the hash of its source and its parents'.

    Raises `CapabilityError` where there is no source.
    """
    return f"{cls.__module__}.{cls.__qualname__} {_code(cls)}"


@lru_cache(maxsize=4096)
def _code(cls: type) -> str:
    package = cls.__module__.partition(".")[0]
    if package in PACKAGES:
        foreign = [
            name
            for name in ("forward", "__call__", "step", "encode", "decode")
            if isinstance(method := cls.__dict__.get(name), types.FunctionType)
            and method.__module__.partition(".")[0] not in (package, "torch")
        ]
        if not foreign:
            return _version(package)
    sources = []
    for each in cls.__mro__:
        if each.__module__.partition(".")[0] in (
            *PACKAGES,
            "builtins",
            "typing",
            "abc",
            "collections",
            "enum",
        ):
            continue
        try:
            sources.append(inspect.getsource(each))
        except (OSError, TypeError) as error:
            raise CapabilityError(
                f"The code of {each.__qualname__} has no source, so what decides its results cannot be told."
            ) from error
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


@lru_cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def plain_state(thing: Any) -> dict[str, Any]:
    """Return the public attributes of an object that are plain values."""
    state = {str(k): v for k, v in vars(thing).items() if not str(k).startswith("_")}
    return {k: _plain(v) for k, v in sorted(state.items()) if k not in _NOT_STATE and _is_plain(v)}


def _all_plain(where: str, thing: Any) -> dict[str, Any]:
    """Return the attributes of an object that are all plain values. Raises `CapabilityError` where one is not."""
    other = [k for k, v in vars(thing).items() if not _is_plain(v)]
    if other:
        raise CapabilityError(f"{where} holds {other[0]!r}, which is no plain value.")
    return {k: _plain(v) for k, v in sorted(vars(thing).items())}


def _parts(pipe: Any) -> list[tuple[str, Any]]:
    components = getattr(pipe, "components", None)
    if not isinstance(components, Mapping):
        components = {n: v for n, v in vars(pipe).items() if hasattr(v, "config") or hasattr(v, "forward")}
    return list(components.items())


def _told(name: str, part: Any) -> Iterator[bytes]:
    """Yield what decides a component's results."""
    import torch

    if isinstance(part, torch.nn.Module):
        yield from _module(name, part)
    elif isinstance(part, torch.Tensor):
        yield _tensors({name: part})
    elif callable(getattr(part, "get_vocab", None)):
        backend = getattr(part, "backend_tokenizer", None)
        # Before the added tokens stand truncation and padding, which every call sets anew.
        fast = backend.to_str().partition('"added_tokens"')[2] if backend is not None else ""
        rules = fast or sorted(part.get_vocab().items())
        sides = [getattr(part, name, None) for name in _TOKENIZER]
        yield _json([code_of(type(part)), rules, _plain_part(sides)])
    elif callable(getattr(part, "step", None)) and hasattr(part, "config"):
        yield from _scheduler(part)
    elif callable(getattr(part, "to_dict", None)):
        yield _json([code_of(type(part)), _plain_part(part.to_dict())])
    elif hasattr(part, "config") and isinstance(part.config, Mapping):
        yield _json([code_of(type(part)), _plain_part(part.config), plain_state(part)])
    elif isinstance(part, (list, tuple)):
        for i, each in enumerate(part):
            yield from _told(f"{name}.{i}", each)
    elif _is_plain(part):
        yield _json(_plain(part))
    else:
        raise CapabilityError(
            f"What decides the results of {name} ({type(part).__name__}) cannot be told: it has no config."
        )


def _scheduler(part: Any) -> Iterator[bytes]:
    """A scheduler: its code, and the tables that it was built with and somebody may have changed since.

    Its config is told beside the digest, since a request may have another scheduler; timesteps are the last run's.
    """
    import torch

    yield _json(code_of(type(part)))
    for name in _TABLES:
        if isinstance(table := getattr(part, name, None), torch.Tensor):
            yield _tensors({name: table})


def _module(name: str, root: torch.nn.Module) -> Iterator[bytes]:
    """A module: code and plain state of every module in it, adapters and attention processors; then its tensors."""
    if hasattr(root, "config"):
        config = root.config.to_dict() if hasattr(root.config, "to_dict") else dict(root.config)
        # Names with an underscore say how it came here.
        yield _json({k: _plain_part(v) for k, v in sorted(config.items()) if not str(k).startswith("_")})
    told = []
    for path, module in root.named_modules():
        _check_told(f"{name}.{path}".rstrip("."), module)
        held = vars(module)
        state = {k: _plain(v) for k, v in held.items() if _is_state(k) and _is_plain(v)}
        processor = held.get("processor")
        if processor is not None and not hasattr(processor, "named_parameters"):
            state["processor"] = [code_of(type(processor)), _all_plain(f"{name}.{path}.processor", processor)]
        told.append([path, code_of(type(module)), module.training, state])
    yield _json(told)
    yield _tensors({f"{name}.{path}": x for path, x in (*root.named_parameters(), *root.named_buffers())})


def _check_told(where: str, module: torch.nn.Module) -> None:
    kinds = ("_forward_hooks", "_forward_pre_hooks")
    hooks = [hook for kind in kinds for hook in (vars(module).get(kind) or {}).values()]
    # Our own and those of transformers look on and change nothing.
    foreign = [hook for hook in hooks if _home(hook) not in ("diffatlas", "transformers")]
    if hasattr(module, "_hf_hook") or foreign:
        raise CapabilityError(f"{where} has hooks, which may change what it computes.")
    if callable(vars(module).get("forward")) or hasattr(module, "_orig_mod"):
        raise CapabilityError(f"The forward of {where} has been replaced by another one.")
    if getattr(module, "_compiled_call_impl", None) is not None:
        raise CapabilityError(f"{where} is compiled, which changes what it computes a little.")


def _home(function: Any) -> str:
    return str(getattr(function, "__module__", None)).partition(".")[0]


def _tensors(tensors: Mapping[str, torch.Tensor]) -> bytes:
    for where, x in tensors.items():
        if x.is_meta:
            raise CapabilityError(f"The weights of {where} are not in memory.")
        if type(x).__name__ not in ("Parameter", "Tensor") or str(x.layout) != "torch.strided":
            raise CapabilityError(
                f"The weights of {where} are of a kind ({type(x).__name__}) that has no digest."
            )
    sums = weight_sums(list(tensors.values()))
    told = [f"{n} {x.dtype} {tuple(x.shape)} {s}" for (n, x), s in zip(tensors.items(), sums, strict=True)]
    return "\n".join(told).encode()


def _is_state(name: str) -> bool:
    # What is private is a module's work on its last call, but for the switches of peft's adapters.
    return name not in _NOT_STATE and (not name.startswith("_") or name.startswith(_SWITCHES))


def _is_plain(value: Any) -> bool:
    return is_plain(value) or (isinstance(value, (set, frozenset)) and all(map(is_plain, value)))


def _plain(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, (set, frozenset)) else value


def _plain_part(value: Any) -> Any:
    """What of a config is plain; the rest as text without an address in memory."""
    if isinstance(value, Mapping):
        return {
            str(k): _plain_part(v)
            for k, v in sorted(value.items(), key=lambda pair: str(pair[0]))
            if not str(k).startswith("_") and k != "name_or_path"
        }
    if isinstance(value, (list, tuple)):
        return [_plain_part(v) for v in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return value if is_plain(value) else str(value).partition(" at 0x")[0]


def _json(data: Any) -> bytes:
    return json.dumps(data, sort_keys=True, default=str).encode()
