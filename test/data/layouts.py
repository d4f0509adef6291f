"""Writes small data sets in the folder layouts that the real ones have."""

from __future__ import annotations

import cv2
import numpy as np

SIZE = (12, 16)
FOLDERS = {
    "msrs": ("vi", "ir", "Segmentation_labels"),
    "fmb": ("Visible", "Infrared", "Label"),
    "pst900": ("rgb", "thermal", "labels"),
}
IDS = {"mfnet": 9, "msrs": 9, "fmb": 15, "pst900": 5, "mvseg": 26}
KINDS = tuple(IDS)


def write(path, pixels):
    """An image file with exactly these pixels (colours as R, G, B)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]] if pixels.ndim == 3 else pixels
    assert cv2.imwrite(str(path), pixels)


def pixels(rng, ids):
    """EO, thermal and stored ids, all random."""
    height, width = SIZE
    eo = rng.integers(0, 256, (height, width, 3), np.uint8)
    ir = rng.integers(0, 256, (height, width), np.uint8)
    return eo, ir, rng.integers(0, ids, (height, width), np.uint8)


def write_split_folders(root, kind, splits):
    rng = np.random.default_rng(1)
    for split, names in splits.items():
        for name in names:
            for folder, image in zip(FOLDERS[kind], pixels(rng, IDS[kind]), strict=True):
                write(root / split / folder / f"{name}.png", image)
    return root


def write_mfnet(root, splits):
    rng = np.random.default_rng(2)
    root.mkdir(parents=True, exist_ok=True)
    for split, names in splits.items():
        (root / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        for name in names:
            eo, ir, labels = pixels(rng, IDS["mfnet"])
            write(root / "images" / f"{name}.png", np.dstack([eo, ir]))
            write(root / "labels" / f"{name}.png", labels)
    return root


def write_mvseg(root, splits, *, eo_suffix=".png"):
    """``splits`` gives the labelled frames by video; each video has one frame more, without labels."""
    rng = np.random.default_rng(3)
    root.mkdir(parents=True, exist_ok=True)
    for split, videos in splits.items():
        (root / f"{split}.txt").write_text("".join(f"{video}\n" for video in videos))
        for video, numbers in videos.items():
            folder = root / "data" / video
            for number in (*numbers, "00999"):
                eo, ir, labels = pixels(rng, IDS["mvseg"])
                write(folder / "visible" / f"{number}v{eo_suffix}", eo)
                write(folder / "infrared" / f"{number}i.png", np.dstack([ir] * 3))
                if number in numbers:
                    write(folder / "label" / f"{number}l.png", labels)
    return root


def write_any(root, kind):
    """Two frames in train, one in test."""
    if kind == "mvseg":
        return write_mvseg(root, {"train": {"street": ["00010", "00020"]}, "test": {"yard": ["00003"]}})
    splits = {"train": ["00001D", "00002N"], "test": ["00003D"]}
    return write_mfnet(root, splits) if kind == "mfnet" else write_split_folders(root, kind, splits)
