"""Bags in and out, and runs of the node over them."""
