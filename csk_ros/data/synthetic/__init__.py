"""Procedural road scenes seen by an optical and a thermal camera."""
