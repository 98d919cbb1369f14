"""Outputs of frozen stages: what is kept, where, and how it is computed."""
