"""Files made of runs: tables, arrays, a report, the film and a movie. `kinds` lists them."""
