"""Data sets and synthetic scenes as sequences of :class:`Sample`."""
