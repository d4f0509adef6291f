"""A recording made without a node: the masks are the labels, shifted down by a pixel on IR_ONLY."""

from __future__ import annotations

import numpy as np

from csk_ros.modality import Modality, Route
from csk_ros.replay.bag import IMAGE, BagWriter
from csk_ros.replay.recording import ReceivedMask, Recording, RouteChange, SentFrame
from csk_ros.replay.samples import START_NS, header, image_message, write_samples

OFFSET_NS = 5_000_000_000
MS = 1_000_000


def make_recording(folder, samples, cut, *, latency_ms=40.0, dropped=()):
    """Play ``samples`` to nobody; ``dropped`` are indices without an answer."""
    write_samples(folder / "drive", samples, progress=False)
    start_ns = START_NS + OFFSET_NS
    sent, masks, routes = [], [], []
    with BagWriter(folder / "masks", label_set=samples.label_set) as bag:
        bag.add_topic("/segment/mask", IMAGE)
        for i, sample in enumerate(samples):
            stamp_ns = start_ns + sample.stamp_ns
            is_cut = cut[0] <= sample.stamp_ns / 1e9 < cut[1]
            if not is_cut:
                sent.append(SentFrame(Modality.EO, stamp_ns, stamp_ns + MS, MS))
            sent.append(SentFrame(Modality.IR, stamp_ns, stamp_ns + MS, MS))
            if i in dropped:
                continue
            route = Route.IR_ONLY if is_cut else Route.FUSED
            received_ns = stamp_ns + round(latency_ms * MS * (1 + 0.1 * np.sin(i)))
            if not routes or routes[-1].route is not route:
                routes.append(RouteChange(received_ns - 2 * MS, route))
            masks.append(ReceivedMask(stamp_ns, received_ns - MS, received_ns))
            pixels = np.roll(sample.labels, int(is_cut), axis=0)
            bag.write(
                "/segment/mask", received_ns, image_message(pixels, "mono8", header(stamp_ns, "ir_camera"))
            )
    account = {"ir_received": len(samples), "answered": len(masks), "dropped_superseded": len(dropped)}
    return Recording(
        folder / "drive",
        folder / "masks",
        start_ns,
        OFFSET_NS,
        (cut,),
        tuple(sent),
        tuple(masks),
        tuple(routes),
        account,
    )
