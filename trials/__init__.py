"""Trials of the whole program (killed, repeated and long runs, random bad input) and helpers of the tests."""
