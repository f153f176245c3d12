"""Trials of the whole program: killed runs, repeated runs, long runs, random bad input. Shared by tests and people."""
