"""What the project promises about speed and memory, measured: `python -m benchmarks.<name>`, `make bench` for all."""

import stages  # noqa: F401  (the programs that are measured set the same threads' habits)
