"""Fused operators of our own, each beside its plain reference."""

REVISION = 1
"""Part of the key of every kept output: to be raised when an operator gives other numbers, in whatever digit."""
