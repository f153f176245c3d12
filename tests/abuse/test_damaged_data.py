"""Damaged files of data: each reader gives a Log or one line, in bounded time and memory."""
