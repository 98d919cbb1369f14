"""Losses, metrics and their intervals."""
