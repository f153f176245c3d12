"""Bad input at random: `python scripts/robustness.py [CASES]` tries it and says what became of it.

Without CASES it tries the fixed set of the tests, with it so many of each kind, drawn anew.
"""

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import robustness
import torch


def main() -> None:
    """Try every property and print the counts; an AssertionError names the first case that is wrong."""
    torch.set_num_threads(1)
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else None
    total: Counter = Counter()
    for name in robustness.PROPERTIES:
        found = robustness.trial(name, cases)
        print(f"{name}: {', '.join(f'{count} {kind}' for kind, count in sorted(found.items()))}")
        total += found
    said = f"{total['ran']} ran, {total['failed']} failed, {total['refused']} refused, 0 tracebacks"
    print(f"{sum(total.values())} cases tried: {said}")


if __name__ == "__main__":
    main()
