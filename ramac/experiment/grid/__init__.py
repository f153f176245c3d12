"""Grids of runs: a folder of cells that can be interrupted, repeated and shared among processes and machines."""
