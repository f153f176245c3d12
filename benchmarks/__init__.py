"""What an update costs, against a plain implementation and against the hardware's limit: `python -m benchmarks`."""

import os

os.environ.setdefault(
    "KINETO_LOG_LEVEL", "99"
)  # torch's profiler otherwise reports each start and stop on the terminal
