"""Image sizes on the command line."""

from __future__ import annotations


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of ``HEIGHTxWIDTH``.

    Raises:
        ValueError: for anything else.
    """
    height, x, width = text.lower().partition("x")
    if not (x and height.isdecimal() and width.isdecimal()):
        raise ValueError(f"size is {text!r}: write HEIGHTxWIDTH in pixels, such as 480x640")
    return int(height), int(width)
