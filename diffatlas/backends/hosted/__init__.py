"""Models that providers run for a fee, behind the protocol of all backends."""
