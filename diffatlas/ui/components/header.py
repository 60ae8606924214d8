"""The head and the foot of every page."""

from __future__ import annotations

import html

import gradio as gr

import diffatlas
from diffatlas.formats.code import run_code
from diffatlas.params import GenerationParams
from diffatlas.registry import list_models
from diffatlas.ui.starts import STARTS

_HEADER = """
<header class="da-header">
  <h1>Diffusion Atlas</h1>
  <p>See how a diffusion model makes an image, one step at a time.</p>
  <nav class="da-nav" aria-label="Pages">
    <button type="button" data-page="trajectory" aria-current="page">Trajectory</button>
    <button type="button" data-page="sweep">Sweep</button>
    <button type="button" data-page="neighbourhood">Neighbourhood</button>
    <button type="button" data-page="attention">Attention</button>
    <button type="button" data-page="bench">Bench</button>
    <button type="button" data-page="lab">2D Lab</button>
    <button type="button" data-page="library">Library</button>
    <button type="button" data-page="settings">Settings</button>
  </nav>
  <span class="da-header-acts">
    <button type="button" class="da-plain da-tour-begin">Tour</button>
    <button type="button" class="da-plain da-ink-switch"></button>
  </span>
</header>
"""

_SWITCH = """
const button = element.querySelector(".da-ink-switch");
const dark = () => document.body.classList.contains("dark");
const name = () => { button.textContent = dark() ? "Light" : "Dark"; };
button.addEventListener("click", () => { window.diffatlasLook.choose(dark() ? "light" : "dark"); name(); });
new MutationObserver(name).observe(document.body, { attributeFilter: ["class"] });
name();
"""


def header() -> gr.HTML:
    """Title, one line, and the switch between ivory and near-black."""
    return gr.HTML(_HEADER, js_on_load=_SWITCH, apply_default_css=False, elem_id="header")


def footer() -> gr.HTML:
    """Version, licence, and the lines of Python that make what is in view."""
    entry = list_models("local")[0]
    start = STARTS["trajectory"]
    first = GenerationParams(
        model=entry.id,
        prompt=start.preset.prompt,
        seed=start.preset.seed,
        num_inference_steps=entry.steps or 30,
        guidance_scale=entry.guidance or 5.0,
    )
    lines = html.escape(run_code(first, {}, {}))
    text = f"Diffusion Atlas {diffatlas.__version__}, MIT licence. "
    button = '<button type="button" class="da-plain da-python">Use it from Python</button>'
    example = f'<pre class="da-python-example" hidden>{lines}</pre>'
    return gr.HTML(
        f'<footer class="da-footer">{text}{button}{example}</footer>',
        js_on_load=None,
        apply_default_css=False,
    )
