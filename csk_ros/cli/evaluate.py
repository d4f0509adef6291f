"""``csk evaluate``: scores, robustness and cost of a checkpoint."""

from __future__ import annotations

from typing import Any

from jsonargparse import ArgumentParser, Namespace

from csk_ros.cli.sizes import parse_size


def register(commands: Any, name: str) -> None:
    """Add ``csk evaluate`` to the commands."""
    text = "score a checkpoint on labelled data: every route, degraded images, cost"
    evaluate = ArgumentParser(
        description="Score every route of a checkpoint, with clean, degraded and missing images, "
        "and write metrics.json, speed.json and pictures.",
    )
    evaluate.add_argument("--checkpoint", metavar="FILE", type=str, required=True, help="*.safetensors")
    evaluate.add_argument(
        "--data",
        metavar="SPEC",
        type=str,
        required=True,
        help="KIND:ROOT with mfnet, msrs, fmb, mvseg or pst900; or scenes:seed=3,frames=20",
    )
    evaluate.add_argument(
        "--split", type=str | None, default=None, help="of the data set; default: all of it"
    )
    evaluate.add_argument(
        "--out", metavar="DIR", type=str, required=True, help="folder of the results; must be new or empty"
    )
    evaluate.add_argument(
        "--engine", type=str, default="auto", help="auto, torch, openvino, onnxruntime or tensorrt"
    )
    evaluate.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:N or xpu")
    evaluate.add_argument("--precision", type=str, default="float32", help="auto, or as the engine offers")
    evaluate.add_argument(
        "--size", metavar="HxW", type=str | None, default=None, help="working size; default: the images' own"
    )
    evaluate.add_argument("--threads", type=int, default=0, help="of the CPU; 0 takes what suits the engine")
    evaluate.add_argument(
        "--limit", metavar="N", type=int | None, default=None, help="only the first N frames"
    )
    evaluate.add_argument(
        "--only",
        metavar="PARTS",
        type=str | None,
        default=None,
        help="some of modalities,degradations,missing,noise,speed; default: all",
    )
    evaluate.add_argument(
        "--gaussian", action="store_true", help="noise: Gaussian besides salt and pepper as well"
    )
    evaluate.add_argument("--seed", type=int, default=0, help="of noise and missing regions")
    commands.add_subcommand(name, evaluate, help=text)


def run(arguments: Namespace) -> None:
    """Run ``csk evaluate``."""
    from csk_ros.evaluation.output import evaluate_files
    from csk_ros.evaluation.run import EvaluationSettings

    height, width = (None, None) if arguments.size is None else parse_size(arguments.size)
    settings = EvaluationSettings(
        engine=arguments.engine,
        device=arguments.device,
        precision=arguments.precision,
        height=height,
        width=width,
        threads=arguments.threads,
        gaussian=arguments.gaussian,
        limit=arguments.limit,
        seed=arguments.seed,
        **({} if arguments.only is None else {"parts": frozenset(arguments.only.split(","))}),
    )
    text = evaluate_files(
        arguments.out, arguments.checkpoint, arguments.data, arguments.split, settings=settings, progress=True
    )
    print(f"{text}\n\nwrote {arguments.out}")
