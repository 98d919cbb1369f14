"""Runs of one structure that train together: head stacks, suffixes, the group and its loop."""
