"""The words about one run: what is asked, its states, its path, its pictures."""

from __future__ import annotations

from diffatlas.glossary.entry import Term

SECTIONS: tuple[tuple[str, tuple[Term, ...]], ...] = (
    (
        "What is asked",
        (
            Term(
                "prompt",
                "Prompt",
                "What the image should show. A model reads a limited number of tokens of it.",
            ),
            Term(
                "negative_prompt",
                "Negative prompt",
                "What the image should not show. Guidance steers away from it; without guidance it does nothing.",
            ),
            Term(
                "unread",
                "Not read",
                "What of a prompt lies behind the last token that a text encoder takes, and words that the model was "
                "never taught: it reads their letters, and they mean nothing to it.",
            ),
            Term(
                "seed",
                "Seed",
                "The number that fixes the initial noise. The same seed, settings and device give the same image.",
            ),
            Term("steps", "Steps", "How many times the model is asked on the way from noise to image."),
            Term(
                "guidance",
                "Guidance scale",
                "How far each prediction is pushed from the unconditional towards the conditional one. "
                "At 1 or below there is no guidance.",
                "uncond + s (cond − uncond)",
                "Ho and Salimans 2022, arXiv 2207.12598",
            ),
            Term(
                "size",
                "Size",
                "Width and height of the image in pixels. A model draws best at its native size.",
            ),
            Term(
                "scheduler",
                "Scheduler",
                "The numerical method that turns each prediction into the next state, and chooses the noise levels.",
            ),
            Term(
                "previews",
                "Previews",
                "Small pictures of the x0 estimate, made at each step or every few. They do not change the image.",
            ),
            Term(
                "model", "Model", "The diffusion model that runs. Its exact revision is stored with the run."
            ),
        ),
    ),
    (
        "The state at a step",
        (
            Term(
                "latents",
                "Latents",
                "The array of numbers that is denoised. The VAE decodes it to the image.",
            ),
            Term(
                "x_t",
                "x_t (the state)",
                "The noisy latents after a step. Their picture is mostly noise at first.",
            ),
            Term(
                "x0",
                "x0 (estimate)",
                "The clean latents as the model expects them at this step: its best guess of the finished image.",
                "E[x0 | x_t]",
            ),
            Term(
                "cond",
                "Conditional estimate",
                "The x0 estimate from the prediction that reads the prompt, before guidance.",
            ),
            Term(
                "uncond",
                "Unconditional estimate",
                "The x0 estimate from the prediction that reads the negative prompt, or none.",
            ),
            Term(
                "other_preds",
                "Other predictions",
                "Predictions that guidance mixed besides these two: of the image alone, or of a model made worse on "
                "purpose.",
            ),
            Term(
                "timestep",
                "Timestep",
                "The position on the noise schedule at which the model is asked, before the step. High is noisy, 0 is "
                "clean.",
            ),
            Term(
                "sigma",
                "Sigma",
                "The noise level at which the model is asked, in the scheduler's own units. It is that of the state "
                "before the step, as the timestep beside it is.",
            ),
            Term(
                "sigma_after",
                "Sigma after",
                "The noise level of the state after the step, in the same units. It is 0 at the end.",
            ),
            Term("norm", "Norm", "The length of the latents as one long vector.", "‖x‖ = √(∑ x²)"),
            Term("mean", "Mean", "The average of all numbers in the latents."),
            Term("std", "Standard deviation", "How far the numbers in the latents spread about their mean."),
            Term("min", "Minimum", "The smallest number in the latents."),
            Term("max", "Maximum", "The largest number in the latents."),
        ),
    ),
    (
        "The path",
        (
            Term("step_length", "Step length", "How far the state moves in this step.", "‖x_k − x_(k−1)‖"),
            Term(
                "between_length",
                "Moved between steps",
                "How far a callback, a mask or a view moved the latents before this step. It is no part of the step.",
            ),
            Term(
                "cosine_to_start",
                "Cosine to start",
                "How nearly the state points the way of the initial noise: 1 the same, 0 at right angles.",
                "x_k · x_T / (‖x_k‖ ‖x_T‖)",
            ),
            Term(
                "cosine_to_end",
                "Cosine to end",
                "How nearly the state points the way of the final latents. Known once the run has ended.",
                "x_k · x_end / (‖x_k‖ ‖x_end‖)",
            ),
            Term(
                "cosine_to_previous",
                "Cosine to previous",
                "How nearly the state points the way of the state before it.",
                "x_k · x_(k−1) / (‖x_k‖ ‖x_(k−1)‖)",
            ),
            Term(
                "distance_to_end",
                "Distance to end",
                "How far the state is from the final latents. Known once the run has ended.",
                "‖x_k − x_end‖",
            ),
            Term(
                "guidance_norm",
                "Guidance norm",
                "The length of the guidance vector: how much the prompt changes the prediction at this step.",
                "‖cond − uncond‖",
                "Ho and Salimans 2022, arXiv 2207.12598",
            ),
            Term(
                "guidance_angle",
                "Guidance angle",
                "The angle in degrees between the guidance vector and the conditional prediction.",
                "∠(cond − uncond, cond)",
            ),
            Term("path_length", "Path length", "The sum of all step lengths.", "∑ ‖x_k − x_(k−1)‖"),
            Term(
                "chord", "Chord", "The straight distance from the initial noise to the end.", "‖x_end − x_T‖"
            ),
            Term(
                "straightness",
                "Straightness",
                "Chord over path length, with what was moved between steps. 1 is a straight line, near 0 a path that "
                "returns.",
                "‖x_end − x_T‖ / ∑ ‖x_k − x_(k−1)‖",
            ),
            Term(
                "curvature",
                "Curvature",
                "The angle in degrees by which the path turns from one step to the next.",
                "∠(x_k − x_(k−1), x_(k+1) − x_k)",
            ),
            Term(
                "mean_curvature",
                "Mean curvature",
                "The average angle in degrees by which the path turns from one step to the next.",
            ),
            Term(
                "dimensions_95",
                "Dimensions (95%)",
                "The least number of principal components that hold 95% of the path's variance.",
            ),
            Term(
                "channel_change",
                "Change by channel",
                "How much each latent channel changes in each step, as a root mean square over its positions.",
                "√(mean (x_k − x_(k−1))²)",
            ),
            Term(
                "spatial_change",
                "Change by place",
                "How much each place of the latents changes in each step, as a root mean square over the channels.",
                "√(mean (x_k − x_(k−1))²)",
            ),
        ),
    ),
    (
        "Views and layers",
        (
            Term(
                "film",
                "Film",
                "One frame a step, in order: the picture of the x0 estimate, with its numbers printed at the edge.",
            ),
            Term(
                "pca",
                "PCA",
                "The directions in which the states spread most. Distances are drawn true: nothing is rescaled.",
                source="Pearson 1901; Hotelling 1933",
            ),
            Term(
                "explained_variance",
                "Explained variance",
                "The share of the states' whole variance that lies along an axis of the view.",
            ),
            Term(
                "umap",
                "UMAP",
                "A map that keeps neighbours together and bends the rest. Distances and axes on it have no unit.",
                source="McInnes et al. 2018, arXiv 1802.03426",
            ),
            Term(
                "common_basis",
                "Common basis",
                "All visible runs are drawn in the same principal components, so their paths can be compared.",
            ),
            Term(
                "captured",
                "Captured",
                "The share of a run's own variance that the drawn axes hold. A low share hides most of the path.",
            ),
            Term(
                "layer",
                "Layer",
                "A run or study on its page. The newest is temporary, dashed and italic, and gives way to the next.",
            ),
            Term(
                "lock",
                "Lock",
                "Keeps a layer, in a colour of its own, through new runs, reloads and restarts.",
            ),
        ),
    ),
    (
        "Two runs compared",
        (
            Term(
                "distance",
                "Distance",
                "The Euclidean distance between the two runs' states at the same step.",
                "‖a_k − b_k‖",
            ),
            Term(
                "angle",
                "Angle",
                "The angle in degrees between the two runs' states at the same step.",
                "arccos(a · b / (‖a‖ ‖b‖))",
            ),
            Term(
                "parting",
                "Parting step",
                "The first step from which the two runs stay apart, by more than 5% of the mean of their norms.",
            ),
            Term(
                "dtw",
                "Dynamic time warping",
                "Pairs the states of two runs in order, so that the summed distance is least. "
                "It allows different step counts.",
                source="Sakoe and Chiba 1978",
            ),
            Term(
                "procrustes",
                "Procrustes alignment",
                "Turns one path as a whole onto the other, without scaling, and measures what is left.",
                source="Schönemann 1966",
            ),
        ),
    ),
    (
        "Pictures",
        (
            Term(
                "histogram",
                "Histogram",
                "How many pixels have each brightness, for red, green, blue and luma.",
            ),
            Term(
                "luma",
                "Luma",
                "The brightness of a pixel, weighted as the eye weighs the colours.",
                "0.2126 R + 0.7152 G + 0.0722 B",
                "ITU-R BT.709",
            ),
            Term("luma_mean", "Mean luma", "The average brightness of the picture."),
            Term(
                "luma_std", "Luma spread", "The standard deviation of the brightness: a measure of contrast."
            ),
            Term(
                "entropy",
                "Entropy",
                "How evenly the 256 levels of luma are used, in bits. 0 is one flat tone, 8 the most.",
                "−∑ p log2 p",
                "Shannon 1948",
            ),
            Term(
                "edge_density",
                "Edge density",
                "The share of pixels that lie on an edge: those whose Sobel gradient of luma exceeds 0.25.",
            ),
            Term(
                "high_frequency",
                "High-frequency energy",
                "The share of the luma's spectral energy, its mean left out, above half the Nyquist frequency.",
            ),
            Term(
                "centroid",
                "Centroid",
                "The point about which the brightness of the picture balances, from 0 to 1 along each side.",
            ),
            Term(
                "centroid_x", "Centroid, across", "Where the brightness balances from left (0) to right (1)."
            ),
            Term("centroid_y", "Centroid, down", "Where the brightness balances from top (0) to bottom (1)."),
            Term(
                "saturation",
                "Saturation",
                "How colourful the picture is on average, from 0 (grey) to 1 (HSV).",
            ),
        ),
    ),
    (
        "The machine",
        (
            Term(
                "device",
                "Device",
                "What the model runs on: the processor (cpu) or a graphics card (cuda, mps).",
            ),
            Term("seconds", "Seconds", "Wall-clock time of the whole run, without loading the model."),
        ),
    ),
)
