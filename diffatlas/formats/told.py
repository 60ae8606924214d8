"""What is said of a run beside its numbers: what the model did not read of the prompt, what could not be recorded, that
its latents were changed, and what a call of a pipeline in memory had besides the usual settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from diffatlas.events import Step
from diffatlas.params import GenerationParams, Lora, Noise
from diffatlas.spelled import number, spelled

#: What a name in ``provenance["missing"]`` stands for.
NAMES = {
    "steps": "some of the steps",
    "latents": "the latents",
    "start_latents": "the states that the steps started from",
    "noise_pred": "the predictions",
    "cond_pred": "the conditional and the unconditional prediction",
    "uncond_pred": "the unconditional prediction",
    "other_preds": "the other predictions",
    "x0_pred": "the estimates x0",
    "sigma": "the noise levels",
    "initial_sigma": "the first noise level",
    "timestep": "the timesteps",
    "total_steps": "the number of steps to come",
    "metrics": "the measures",
    "cosine_to_end": "the cosine to the end",
    "previews": "previews",
    "attention": "attention",
    "text": "the words of later steps",
    "images": "the final image",
    "call": "what was asked",
    "random_state": "all of the noise",
    "calls": "another call",
    "record": "the run in the library",
}
#: So many numbers of steps are told before the rest is counted.
MOST = 8
#: So many characters are told of what was cut off a prompt, and so many words that are not known.
MOST_CUT, MOST_WORDS = 400, 40
#: How the families of text encoders are written where that is not their name with a capital.
_FAMILIES = {name: name.upper() for name in ("clip", "t5", "mt5", "umt5", "bert")}


def unread(provenance: Mapping[str, Any]) -> list[str]:
    """Return what the model did not read of a run's prompts: "The model read 24 tokens of the prompt; it did not read:
    “and a ring”.", "The model was never taught: cat."."""
    prompt = provenance.get("prompt")
    if not isinstance(prompt, Mapping):
        return []
    cut, unknown = (_entries(prompt.get(name)) for name in ("cut", "unknown"))
    found = []
    for entry in cut:
        text = " ".join(str(entry.get("text", "")).split())
        text = text if len(text) <= MOST_CUT else f"{text[:MOST_CUT]}…"
        who = _who(entry, [other for other in cut if other is not entry and _of(other) == _of(entry)])
        others = _listed([_family(name) for name in _names(entry, "read_by")])
        told = f"{who} read {entry.get('tokens')} tokens of the {_of(entry)}; it did not read: “{text}”."
        found.append(f"{told} {others} read all of it." if others else told)
    for entry in unknown:
        named = _names(entry, "words")
        more = f" and {len(named) - MOST_WORDS} more" if len(named) > MOST_WORDS else ""
        of = "" if _of(entry) == "prompt" else f", of the {_of(entry)}"
        found.append(f"The model was never taught{of}: {', '.join(named[:MOST_WORDS])}{more}.")
    return found


def known_words(provenance: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return (kind, words) that the model of a run was taught, where its prompt had others; else nothing."""
    prompt = provenance.get("prompt")
    known = prompt.get("known") if isinstance(prompt, Mapping) else None
    if not isinstance(known, Mapping):
        return []
    return [(str(kind), _names(known, kind)) for kind in list(known)[:MOST_WORDS]]


def _who(entry: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
    """Return who cut a prompt: the model where all of its encoders did, else those that did."""
    families, whole = _names(entry, "families"), _names(entry, "read_by")
    if not whole and not others:
        return "The model"
    elsewhere = {*whole, *(name for other in others for name in _names(other, "families"))}
    if elsewhere & {*families}:
        return _listed(_names(entry, "encoders"))
    return _listed([_family(name) for name in families])


def _of(entry: Mapping[str, Any]) -> str:
    """Return what a text is called: "prompt", "negative prompt 2"; of several in a list with its place from 1."""
    name, index = str(entry.get("of", "prompt")).replace("_", " "), entry.get("index")
    return f"{name} (text {index + 1})" if isinstance(index, int) else name


def _entries(found: Any) -> list[Mapping[str, Any]]:
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _names(entry: Mapping[str, Any], name: str) -> list[str]:
    found = entry.get(name)
    return [str(one) for one in found] if isinstance(found, list) else []


def _family(name: str) -> str:
    return _FAMILIES.get(name, name.capitalize())


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def not_recorded(provenance: Mapping[str, Any]) -> list[str]:
    """Return what a run's provenance says is missing of it: "Not recorded: previews. The model has no VAE.".

    What is missing for one and the same reason is said in one sentence.
    """
    missing = provenance.get("missing")
    if not isinstance(missing, Mapping):
        return []
    names: dict[Any, list[str]] = {}
    for name, why in missing.items():
        names.setdefault(why, []).append(NAMES.get(name, name))
    return [f"Not recorded: {_listed(named)}. {why}" for why, named in names.items()]


def ignored(provenance: Mapping[str, Any]) -> list[str]:
    """Return what a run's provenance says that its hosted model did not heed of the request, a sentence each."""
    found = provenance.get("ignored")
    return [str(sentence) for sentence in found.values()] if isinstance(found, Mapping) else []


def changed_before(steps: Iterable[Step]) -> list[int]:
    """Return the steps (from 1) before which the latents were changed."""
    return [s.index + 1 for s in steps if s.start_latents is not None or "between_length" in s.metrics]


def changed(steps: Sequence[int]) -> list[str]:
    """Return the sentence that says before which steps (from 1) the latents were changed; none where there are none."""
    if not steps:
        return []
    told = [str(step) for step in steps[:MOST]]
    if len(steps) > MOST:
        told.append(f"{len(steps) - MOST} more")
    word = "step" if len(steps) == 1 else "steps"
    return [
        f"The latents were changed between steps, before {word} {_listed(told)}: lengths are of the true states."
    ]


def left_out(provenance: Mapping[str, Any]) -> list[str]:
    """Return the sentences on what decided a run and is in no setting: "Not among the settings: latents. It was…"."""
    call = provenance.get("call")
    named = call.get("left_out") if isinstance(call, Mapping) else None
    if not isinstance(named, Mapping):
        return []
    return [f"Not among the settings: {name}. {why}" for name, why in named.items()]


def made_with(params: GenerationParams, provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (name, words) of what a call had besides the usual settings, and of the pipeline that was in memory."""
    return [
        (name, words)
        for name, words in (
            ("arguments", extra_text(params.extra)),
            ("pipeline", in_memory(provenance)),
            ("digest", _digest(provenance)),
            ("adapters", _adapters(provenance)),
            ("loaded", _placement(provenance)),
        )
        if words
    ]


def extra_text(extra: Mapping[str, Any] | None) -> str:
    """Return further arguments of a call: "eta 0.5, strength 0.6"."""
    return ", ".join(f"{name} {_spelled(value)}" for name, value in (extra or {}).items())


def in_memory(provenance: Mapping[str, Any]) -> str:
    """Return the class of a pipeline that was in memory, and that it was; nothing for another one."""
    if provenance.get("source") != "memory":
        return ""
    return f"{provenance.get('pipeline') or 'a pipeline'}, in memory"


def _digest(provenance: Mapping[str, Any]) -> str:
    revision = provenance.get("revision")
    if not in_memory(provenance) or not isinstance(revision, Mapping):
        return ""
    return (
        str(revision["digest"])[:12]
        if "digest" in revision
        else f"none. {revision.get('no_digest', '')}".strip()
    )


def _adapters(provenance: Mapping[str, Any]) -> str:
    adapters = provenance.get("adapters")
    if not isinstance(adapters, Mapping):
        return ""
    return "; ".join(
        f"{component}: {', '.join(_at(name, scale) for name, scale in named.items())}"
        for component, named in adapters.items()
        if isinstance(named, Mapping)
    )


def _placement(provenance: Mapping[str, Any]) -> str:
    """Return how a pipeline was put on its device: "offload group, VAE tiling and slicing, compiled (blocks)"."""
    put = provenance.get("placement")
    if not isinstance(put, Mapping):
        return ""
    vae = put.get("vae")
    words = [
        f"offload {put['offload']}" if put.get("offload") else "",
        f"VAE {' and '.join(map(str, vae))}"
        if isinstance(vae, Sequence) and not isinstance(vae, str) and vae
        else "",
        f"compiled ({put['compile']})" if put.get("compile") else "",
        "attention in slices" if put.get("sliced_attention") else "",
    ]
    without = put.get("without")
    if isinstance(without, Mapping) and without:
        words.append(f"without effect: {', '.join(map(str, without))}")
    return ", ".join(word for word in words if word)


def _at(name: str, scale: Any) -> str:
    return f"{name} at {scale:g}" if isinstance(scale, (int, float)) else name


def _spelled(value: Any) -> str:
    return f"({spelled(value)})" if isinstance(value, Mapping) and value else spelled(value)


def loras_text(loras: Sequence[Lora]) -> str | None:
    """Return LoRAs by the names of their files, without folders, and their weights; None where there are none."""
    return ", ".join(f"{lora.name} at {number(lora.weight)}" for lora in loras) or None


def noise_words(noise: Noise) -> str:
    """Return what noise is made of besides that of its seed: "perturbed by 0.3 with seed 8 after step 2"."""
    if noise.kind == "slerp":
        return f"{noise.amount:.0%} of the way to that of seed {noise.seed}"
    when = f" after step {noise.step}" if noise.step else ""
    return f"perturbed by {number(noise.amount)} with seed {noise.seed}{when}"
