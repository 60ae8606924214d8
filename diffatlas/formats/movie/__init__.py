"""Moving pictures: a run as its previews, a sampling in the plane as its points."""
