"""What perception costs: CPU time per frame and decisions per second, for several pairs of rates.

Usage: python benchmarks/pairing.py [--seconds 600]
"""

from __future__ import annotations

import argparse
import random
import time

from csk_ros.modality import Modality
from csk_ros.perception import Frame, Perception

_SECOND = 1_000_000_000


def _drive(ir_hz: float, eo_hz: float, seconds: float) -> list[Frame[None]]:
    """Both streams with 5 % jitter of arrival and 1 % loss, and EO away for every third ten seconds."""
    rng = random.Random(0)
    frames = []
    for modality, rate in ((Modality.IR, ir_hz), (Modality.EO, eo_hz)):
        period = _SECOND / rate
        for index in range(int(seconds * rate)):
            stamp = _SECOND + int(index * period)
            away = modality is Modality.EO and stamp // (10 * _SECOND) % 3 == 2
            if not away and rng.random() > 0.01:
                arrival = stamp + int(period * rng.uniform(0.05, 0.1))
                frames.append(Frame(modality, stamp, arrival, None))
    return sorted(frames, key=lambda frame: frame.arrival_ns)


def _measure(frames: list[Frame[None]]) -> tuple[int, float]:
    """Number of decisions and seconds of CPU time for all frames, deadlines and answers included."""
    perception: Perception[None] = Perception()
    decided = 0
    start = time.process_time()
    for frame in frames:
        decisions = []
        deadline = perception.next_deadline_ns()
        if deadline is not None and deadline < frame.arrival_ns:
            decisions += perception.advance(deadline)
        decisions += perception.arrive(frame)
        for decision in decisions:
            perception.answered(decision, frame.arrival_ns)
        decided += len(decisions)
    return decided, time.process_time() - start


def main() -> None:
    """Prints one line for each pair of rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600, help="length of each drive (default: 600)")
    seconds = parser.parse_args().seconds
    print(f"{'IR Hz':>6} {'EO Hz':>6} {'frames':>8} {'us/frame':>9} {'decisions/s':>12}")
    for ir_hz, eo_hz in ((9, 30), (30, 30), (30, 10), (60, 120)):
        frames = _drive(ir_hz, eo_hz, seconds)
        decided, elapsed = min((_measure(frames) for _ in range(3)), key=lambda result: result[1])
        cost = elapsed / len(frames) * 1e6
        print(f"{ir_hz:6} {eo_hz:6} {len(frames):8} {cost:9.2f} {decided / elapsed:12,.0f}")


if __name__ == "__main__":
    main()
