"""Data sets of real and made-up samples, all in memory, in a deterministic order."""
