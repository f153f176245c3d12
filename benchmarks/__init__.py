"""What an update costs, against a plain implementation and against the hardware's limit: `python -m benchmarks`."""

import os

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # silences the start and stop messages of torch's profiler
