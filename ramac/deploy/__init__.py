"""Policies outside the library: one file that acts without it (`export`), and a folder to share (`pack`)."""
