"""Contact sheets in the manner of film: of runs, and of studies."""
