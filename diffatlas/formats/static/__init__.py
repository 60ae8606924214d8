"""The static run folder that attention tools exchange: its contract, checked (`check`), written and read."""
