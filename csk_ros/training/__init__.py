"""Recipes that turn samples into checkpoints."""
