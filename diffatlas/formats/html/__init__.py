"""The page of one run or two that needs no server."""
