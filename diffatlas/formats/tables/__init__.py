"""Numbers of runs and studies for other programs: CSV, JSON and arrays."""
