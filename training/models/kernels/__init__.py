"""Fused operators, a module each: one pass where torch's own operators take several.

Each module has `reference` beside its operator: the same in torch's own operators, which tests compare it with, forward
and backward. What an operator gains in a training step is measured by bench/kernels.py and written down in docs/log.md.
`lower` is the only place that chooses them.
"""

REVISION = 4
"""Part of the key of every kept output: to be raised when an operator gives other numbers, in whatever digit, or when
examples go through the stages in other pieces."""
