"""Backbones as stages, their weights, heads, and what a config says about them."""
