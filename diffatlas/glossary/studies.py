"""The words about studies: sweeps, neighbourhoods, and lanes that are compared."""

from __future__ import annotations

from diffatlas.glossary.entry import Term

SECTIONS: tuple[tuple[str, tuple[Term, ...]], ...] = (
    (
        "Studies",
        (
            Term(
                "study",
                "Study",
                "Several runs asked for together, to be compared: a sweep, or a neighbourhood.",
            ),
            Term(
                "lane",
                "Lane",
                "One way of running a study: another scheduler, guidance method or model, everything "
                "else the same.",
            ),
            Term(
                "cell",
                "Cell",
                "One run of a study: one value, one seed, one lane.",
            ),
            Term(
                "sweep",
                "Sweep",
                "One prompt and seed over a list of values of one setting.",
            ),
            Term(
                "baseline",
                "Baseline",
                "The cell that the others of its row are held against.",
            ),
            Term(
                "guidance_method",
                "Guidance method",
                "How the conditional and the unconditional prediction are put together. Plain guidance "
                "is the straight line through the two.",
            ),
            Term(
                "exact",
                "One by one",
                "Each cell runs alone, bit-equal to a single run. In a shared batch it is equal up to "
                "rounding.",
            ),
            Term(
                "drift",
                "Drift",
                "How far a cell's result is from the baseline's, by one of several distances.",
            ),
            Term(
                "perceptual_hash",
                "Perceptual hash",
                "The share of bits that differ between the hashes of two images, which tell coarse light "
                "and dark apart.",
                "",
                "Zauner 2010",
            ),
            Term(
                "latent_distance",
                "Latent distance",
                "The length of the difference of two final latents, as a share of the baseline's norm.",
            ),
            Term(
                "image_distance",
                "Image distance",
                "The root mean square of the differences of all pixels, from 0 to 1.",
            ),
            Term(
                "feature_distance",
                "Feature distance",
                "One minus the cosine of two images in the eyes of an encoder, which is named beside it.",
            ),
            Term(
                "clipped",
                "Clipped",
                "The share of colour values at 0 or 255: light and dark that cannot be told apart any more.",
            ),
            Term(
                "clipping_onset",
                "Clipping begins",
                "The smallest value from which on the clipped share is at least 5 percentage points over "
                "the baseline's.",
            ),
            Term(
                "diversity",
                "Diversity",
                "The mean distance between the images of different seeds at one value.",
            ),
            Term(
                "collapse",
                "Mode collapse begins",
                "The smallest value from which on diversity stays below half of the baseline's. It needs "
                "three seeds or more.",
            ),
        ),
    ),
    (
        "Neighbourhoods",
        (
            Term(
                "neighbourhood",
                "Neighbourhood",
                "What the model makes of noise near one point of latent space.",
            ),
            Term(
                "anchor",
                "Anchor",
                "The point that a neighbourhood lies around: the noise of the seed.",
            ),
            Term(
                "radius",
                "Radius",
                "How much of the noise is new. At 0 it is the anchor's, at 1 independent of it; its norm "
                "is distributed alike.",
                "√(1 − s²) x + s ε",
            ),
            Term(
                "slerp",
                "Spherical interpolation",
                "The way from one noise to another along the sphere on which noise lies, in equal angles.",
                "",
                "Shoemake 1985",
            ),
            Term(
                "seed_offset",
                "Seed offset",
                "Seeds near in number. Their noise is independent: distance between seeds has no geometry.",
            ),
            Term(
                "growth",
                "Growth",
                "How far two images are apart, against how far apart their noise was.",
            ),
            Term(
                "growth_slope",
                "Slope at 0",
                "How much image distance a small latent distance makes: where it is high, the image "
                "depends strongly on the noise.",
            ),
            Term(
                "basin",
                "Basin",
                "A cluster of neighbours with images near each other. One basin means that the images do "
                "not fall apart into groups.",
            ),
            Term(
                "silhouette",
                "Silhouette",
                "How much nearer cells are to their own cluster than to the next: 1 apart, 0 touching.",
                "",
                "Rousseeuw 1987",
            ),
            Term(
                "gap_statistic",
                "Gap statistic",
                "How much tighter clusters are than those of data that has none.",
                "",
                "Tibshirani et al. 2001",
            ),
            Term(
                "jump",
                "Jump",
                "Two cells whose noise is close and whose images are far apart.",
            ),
            Term(
                "mds",
                "MDS",
                "Multidimensional scaling: points in the plane whose distances come as near as they can "
                "to the given ones.",
            ),
            Term(
                "stress",
                "Stress",
                "How badly a map in the plane keeps the distances: 0 is perfect.",
                "",
                "Kruskal 1964",
            ),
            Term(
                "agreement",
                "Agreement",
                "Whether two lanes tell the same: what holds in both is structural, what holds in one is "
                "contingent.",
            ),
            Term(
                "rank_correlation",
                "Rank correlation",
                "Whether two curves order the values alike: 1 alike, 0 unrelated, −1 reversed.",
                "",
                "Spearman 1904",
            ),
            Term(
                "rand_index",
                "Adjusted Rand index",
                "Whether two lanes put the same cells into the same basins: 1 alike, 0 as by chance.",
                "",
                "Hubert and Arabie 1985",
            ),
        ),
    ),
)
