"""Task packs, what judges images by them, and the statistics of the verdicts."""
