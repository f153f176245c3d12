"""Import matplotlib whatever MPLBACKEND names: figures here are files, which need no backend.

matplotlib refuses to be imported where MPLBACKEND is unknown to it. Where it is valid, matplotlib is left as its own
import leaves it, and so is the environment variable.
"""

import os
import sys
from contextlib import suppress

if "matplotlib" not in sys.modules:
    chosen = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if chosen is not None:
            os.environ["MPLBACKEND"] = chosen
    if chosen:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = chosen
