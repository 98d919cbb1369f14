"""Photos that are drawn by our own code."""
