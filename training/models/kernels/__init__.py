"""Fused operators, a module each: one pass where torch's own operators take several.

Each module has `reference` beside its operator: the same in torch's own operators, which tests compare it with, forward
and backward. What an operator gains is measured in tests/benchmarks/test_kernels.py and written down in docs/log.md.
`lower` is the only place that chooses them.
"""

REVISION = 1
"""To be raised when an operator of frozen stages gives other numbers than before: what was kept is then out of date."""
