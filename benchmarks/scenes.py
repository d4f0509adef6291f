"""Frame pairs per second of the procedural scenes on one core.

Run: python benchmarks/scenes.py [--frames 60] [--seeds 4] [--height 480] [--width 640]
"""

from __future__ import annotations

import argparse
import time

import cv2

from csk_ros.data.synthetic import SceneDrive

CASES = (("day", 0.0), ("night", 0.0), ("night-to-day", 0.0), ("day", 0.02), ("night", 0.02))


def main() -> None:
    """Print one line per light and fog: CPU and wall-clock milliseconds per pair, and pairs per second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (("frames", 60), ("seeds", 4), ("height", 480), ("width", 640)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{'light':>14} {'fog':>6} {'cpu ms':>8} {'wall ms':>8} {'pairs/s (cpu)':>14}")
    for light, fog in CASES:
        cpu, wall = measure(options, light, fog)
        print(f"{light:>14} {fog:6.3f} {cpu * 1e3:8.1f} {wall * 1e3:8.1f} {1 / cpu:14.1f}")


def measure(options: argparse.Namespace, light: str, fog: float) -> tuple[float, float]:
    """CPU and wall seconds per pair, over consecutive frames of several streets."""
    size = {"height": options.height, "width": options.width}
    drives = [
        SceneDrive(s, frames=options.frames, light=light, fog=fog, **size) for s in range(options.seeds)
    ]
    for drive in drives:
        drive[0]
    cpu, wall = time.process_time(), time.perf_counter()
    for drive in drives:
        for index in range(options.frames):
            drive[index]
    pairs = options.frames * options.seeds
    return (time.process_time() - cpu) / pairs, (time.perf_counter() - wall) / pairs


if __name__ == "__main__":
    main()
