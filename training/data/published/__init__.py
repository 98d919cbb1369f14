"""Data that others publish: fetched and unpacked."""
