"""The tests, in the rooms of the code that they test: a new test goes to the room of its subject.

`support` has what several test modules share. `clients` and `hosts` need other programs, kernels and interpreters;
`proofs` has the long runs; `benchmarks` measures speed and memory, beside other servers; `house` tests the project
itself: imports, documentation, sizes.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The folder of the checkout."""
