"""The words of the 2D Lab."""

from __future__ import annotations

from diffatlas.glossary.entry import Term

SECTIONS: tuple[tuple[str, tuple[Term, ...]], ...] = (
    (
        "2D Lab",
        (
            Term(
                "score",
                "Score",
                "The direction in which points become more likely, at a noise level: the gradient of the "
                "logarithm of the density.",
                "∇ log p_t(x) = −ε / s",
                "Song et al. 2021",
            ),
            Term(
                "denoiser",
                "Denoiser",
                "The estimate of the clean point, given a noisy one. The best possible is the mean of all clean "
                "points that the noisy one may have come from.",
                "E[x₀ | x] = x + σ² ∇ log p(x; σ)",
                "Efron 2011, Tweedie’s formula",
            ),
            Term(
                "bayes_floor",
                "Bayes floor",
                "The least loss that any network can reach: a noisy point may have come from many clean ones, and "
                "their spread stays. It is known here, because the target is an exact mixture.",
                "E tr Cov[ε | x]",
            ),
            Term(
                "excess",
                "Excess",
                "The loss above its floor: how far the network is from the best one. In percent it is the sum over "
                "noise levels over that of the floor.",
                "E‖ε_θ − E[ε | x]‖²",
            ),
            Term(
                "relative_error",
                "Relative error",
                "The length of the difference between learned and exact field over that of the exact one, over all "
                "places together.",
                "‖s_θ − s‖ / ‖s‖",
            ),
            Term(
                "sampler",
                "Sampler",
                "A way of taking points from noise to data along the field: which noise levels, how a step is made, "
                "whether fresh noise is added.",
            ),
            Term(
                "probability_flow",
                "Probability flow",
                "The flow without fresh noise that carries the density of noise into that of the data. Every start "
                "has one end.",
                "dx/dσ = (x − D(x; σ)) / σ",
                "Song et al. 2021; Karras et al. 2022",
            ),
            Term(
                "mmd",
                "MMD²",
                "How far apart two samples are, by Gaussian kernels of 0.5, 1 and 2 (fine: 0.05, 0.1, 0.2) times the "
                "median distance. Unbiased: 0 on average where there is no difference, and at times below.",
                "E k(x, x′) + E k(y, y′) − 2 E k(x, y)",
                "Gretton et al. 2012",
            ),
            Term(
                "sliced_wasserstein",
                "Sliced Wasserstein distance",
                "How far points of one sample must be moved to become the other, along 64 directions, root mean "
                "square.",
                source="Bonneel et al. 2015",
            ),
            Term(
                "surprise",
                "Surprise",
                "How much less likely samples are under the exact density than points of the target are, in nats. "
                "It sees points where none belong, and is blind to missing ones.",
                "−E log p(sample) − H(p)",
            ),
            Term(
                "mode_coverage",
                "Modes",
                "Groups or stretches of the target. Their shares are compared with what they should be (total "
                "variation); a mode with half of its share or more counts as covered.",
                "½ Σ |share − weight|",
            ),
            Term(
                "noise_floor",
                "Noise floor",
                "What a measure says of the target against itself with as many points: below it, no difference can "
                "be seen.",
            ),
            Term(
                "error_budget",
                "Error budget",
                "The same noise through the learned and the exact field, in few steps and in many: how much of the "
                "distance between ends is due to the steps, and how much to the field.",
            ),
            Term(
                "copy",
                "Copy",
                "A sample whose nearest training point is less than a third as far away as the second nearest.",
                source="Yoon et al. 2023",
            ),
            Term(
                "kl",
                "KL divergence",
                "How much less likely the data are to the network than to the target itself, on average.",
                "E log p(x) − log p_θ(x)",
            ),
        ),
    ),
)
