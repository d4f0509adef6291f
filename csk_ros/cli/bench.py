"""``csk bench``: how fast this machine is, beside the usual way to do the same."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from csk_ros.cli.sizes import parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from csk_ros.replay.bench import Measured


def register(commands: Any, name: str) -> None:
    """Add ``csk bench`` to the commands."""
    text = "measure speed, latency and memory beside the same network run the usual way"
    bench = ArgumentParser(
        description="Time every engine, precision, route and size through the Segmenter, then camera to mask "
        "over DDS, in turn with eager torch and with a node written the usual way, so that a busy machine "
        "slows all alike. Ctrl-C ends it with what was measured so far (docs/performance.md)."
    )
    bench.add_argument("--checkpoint", metavar="FILE", type=str | None, default=None, help="*.safetensors")
    bench.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:N or xpu")
    bench.add_argument("--height", type=int, default=480, help="of the images, pixels")
    bench.add_argument("--width", type=int, default=640, help="of the images, pixels")
    bench.add_argument("--threads", type=int, default=0, help="of the CPU; 0 takes what suits the engine")
    bench.add_argument("--confidence", action="store_true", help="make confidence maps as well")
    _add_part_arguments(bench)
    bench.add_argument("--json", metavar="FILE", type=str, default="", help="write all figures; a new file")
    bench.add_argument("--plot", metavar="FILE", type=str, default="", help="draw them; a new .svg or .png")
    commands.add_subcommand(name, bench, help=text)


def _add_part_arguments(bench: ArgumentParser) -> None:
    segmenter = bench.add_argument_group("segmenter")
    lists = {
        "engines": "torch,openvino,onnxruntime,tensorrt; default: all that run here",
        "precisions": "such as float32,bfloat16; default: all that run here",
        "routes": "FUSED,IR_ONLY,EO_ONLY; default: all of the network",
        "sizes": "such as 480x640,240x320; default: --height x --width",
    }
    for option, text in lists.items():
        segmenter.add_argument(f"--{option}", metavar="LIST", type=str, default="", help=text)
    segmenter.add_argument("--rounds", type=int, default=30, help="how often each is timed")
    segmenter.add_argument(
        "--at-once",
        type=int,
        default=0,
        help="also time a stream of frames, so many in work at a time, each by a Segmenter of its own",
    )
    segmenter.add_argument("--no-segmenter", action="store_true", help="leave this part out")
    nodes = bench.add_argument_group("end to end")
    nodes.add_argument("--rate", metavar="LIST", type=str, default="5", help="pairs per second, such as 5,15")
    nodes.add_argument("--seconds", type=float, default=20.0, help="of each turn")
    nodes.add_argument("--turns", type=int, default=3, help="of each node at each rate")
    nodes.add_argument(
        "--node-size", metavar="HxW", type=str, default="", help="of our node's network; default: the images'"
    )
    nodes.add_argument(
        "--node-engine", type=str, default="auto", help="auto, torch, openvino, onnxruntime or tensorrt"
    )
    nodes.add_argument("--node-precision", type=str, default="auto", help="auto, or as the engine offers")
    nodes.add_argument(
        "--usual",
        metavar="FILE",
        type=str,
        default="",
        help="node to compare with; default: benchmarks/usual_node.py",
    )
    nodes.add_argument("--no-usual", action="store_true", help="measure our node alone")
    nodes.add_argument("--no-end-to-end", action="store_true", help="leave this part out")


def run(arguments: Namespace) -> None:
    """Run ``csk bench``."""
    from csk_ros.replay.bench import PLOT_KINDS, format_bench, refuse_target, run_bench, write_document
    from csk_ros.replay.provenance import find_checkpoint

    if arguments.no_segmenter and arguments.no_end_to_end:
        raise ValueError("both parts are left out: nothing to measure")
    json_file, plot = (Path(name) if name else None for name in (arguments.json, arguments.plot))
    if json_file:
        refuse_target(json_file)
    if plot:
        from csk_ros.replay.bench_chart import draw_bench

        refuse_target(plot, PLOT_KINDS)
    checkpoint = find_checkpoint(arguments.checkpoint)
    parts = {}
    if not arguments.no_segmenter:
        parts["segmenter"] = _segmenter(arguments, checkpoint)
    if not arguments.no_end_to_end:
        parts["end_to_end"] = _end_to_end(arguments, checkpoint)
    try:
        document, ended_by = run_bench(parts, checkpoint)
    except KeyboardInterrupt:
        _say("nothing was measured yet, and nothing is written")
        raise
    print(format_bench(document))
    if json_file:
        write_document(document, json_file)
    if plot:
        draw_bench(document, plot)
    if ended_by:
        _say("ended early: the figures are of what was measured before")
        raise ended_by


def _segmenter(arguments: Namespace, checkpoint: Path) -> Callable[[], Measured]:
    from csk_ros.evaluation.speed import SpeedSettings, measure_speed
    from csk_ros.modality import Route

    settings = SpeedSettings(
        checkpoint=checkpoint,
        engines=_split(arguments.engines),
        precisions=_split(arguments.precisions),
        routes=tuple(Route(name) for name in _split(arguments.routes)),
        sizes=tuple(map(parse_size, _split(arguments.sizes))) or ((arguments.height, arguments.width),),
        device=arguments.device,
        threads=arguments.threads,
        confidence=arguments.confidence,
        rounds=arguments.rounds,
        at_once=arguments.at_once,
    )
    return partial(measure_speed, settings, progress=True)


def _end_to_end(arguments: Namespace, checkpoint: Path) -> Callable[[], Measured]:
    from csk_ros.replay.end_to_end import EndToEndSettings, find_usual_node, measure_end_to_end

    if arguments.usual and arguments.no_usual:
        raise ValueError("--usual names a node to compare with and --no-usual leaves it out: give one")
    usual = Path(arguments.usual).resolve() if arguments.usual else find_usual_node()
    if arguments.no_usual:
        usual = None
    elif usual is None:
        _say("benchmarks/usual_node.py is not installed: no comparison end to end; --usual names such a node")
    settings = EndToEndSettings(
        checkpoint=checkpoint,
        usual=usual,
        rates=tuple(float(rate) for rate in _split(arguments.rate)),
        seconds=arguments.seconds,
        turns=arguments.turns,
        height=arguments.height,
        width=arguments.width,
        working_size=parse_size(arguments.node_size) if arguments.node_size else None,
        engine=arguments.node_engine,
        precision=arguments.node_precision,
        device=arguments.device,
        threads=arguments.threads,
        confidence=arguments.confidence,
    )
    return partial(measure_end_to_end, settings, progress=True)


def _split(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _say(text: str) -> None:
    print(f"csk: {text}", file=sys.stderr)
