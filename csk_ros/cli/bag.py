"""``csk bag``: make bags, look into them, cut them, and take them apart for labelling."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from jsonargparse import ArgumentParser, Namespace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from csk_ros.data.sample import SampleSet
    from csk_ros.labels import LabelSet

DAMAGED = 3
"""Exit code where a bag was damaged, and the result holds only what could be read."""

_SHOWN = 3


def register(commands: Any, name: str) -> None:
    """Add ``csk bag`` to the commands."""
    text = "make rosbags, look into them, cut them, extract and add labels"
    top = ArgumentParser(
        description=f"{text.capitalize()}. Exit code 3: a bag was damaged, the rest was done."
    )
    commands.add_subcommand(name, top, help=text)
    actions = top.add_subcommands(dest="action", metavar="ACTION")
    actions.add_subcommand(
        "make", _make_parser(), help="write a bag from a data set, scenes, images or videos"
    )
    actions.add_subcommand("info", _info_parser(), help="show what a bag holds, and what of it is damaged")
    actions.add_subcommand("cut", _cut_parser(), help="copy a stretch or some topics; converts and repairs")
    actions.add_subcommand(
        "extract", _extract_parser(), help="write the images as a data set to label and to train on"
    )
    actions.add_subcommand("label", _label_parser(), help="copy a bag and add label maps to it")


def run(arguments: Namespace) -> int:
    """Run ``csk bag``; gives the exit code."""
    actions = {"make": _make, "info": _info, "cut": _cut, "extract": _extract, "label": _label}
    return actions[arguments.action](arguments[arguments.action])


def _make_parser() -> ArgumentParser:
    make = ArgumentParser(
        description="Write a rosbag2 with the topics /eo/image, /ir/image and /labels/image, from --data, or "
        "from two folders of images, or from two videos.",
    )
    _add_out(make)
    make.add_argument(
        "--data",
        metavar="SPEC",
        type=str | None,
        default=None,
        help="mfnet:ROOT, or scenes:seed=3,frames=200,light=night-to-day,rate=10",
    )
    make.add_argument(
        "--split", type=str | None, default=None, help="train, val, test or all (data sets only)"
    )
    _add_text(make, "--eo-images", "DIR", "optical images; paired with --ir-images by their names")
    _add_text(make, "--ir-images", "DIR", "thermal images, 8 or 16 bit; names that are stamps are the stamps")
    _add_text(make, "--labels", "DIR", "label maps named as the thermal images; not every image needs one")
    make.add_argument(
        "--pair",
        type=Literal["name", "order"],
        default="name",
        help="pair images by their names, or the first with the first",
    )
    _add_text(make, "--label-set", "FILE", "JSON with names and colors of the classes (default: MFNet's)")
    _add_text(make, "--eo-video", "FILE", "optical video; paired with --ir-video frame by frame")
    _add_text(make, "--ir-video", "FILE", "thermal video")
    make.add_argument("--storage", type=Literal["mcap", "sqlite3"], default="mcap", help="storage of the bag")
    make.add_argument(
        "--compress",
        type=Literal["none", "zstd", "png", "jpeg"],
        default="none",
        help="zstd compresses the storage; png and jpeg write CompressedImage (thermal always as png)",
    )
    make.add_argument(
        "--rate",
        metavar="HZ",
        type=float | None,
        default=None,
        help="frames per second, in place of the data's own",
    )
    return make


def _info_parser() -> ArgumentParser:
    info = ArgumentParser(description="Show what a bag holds: topics, rates, images, classes, and damage.")
    _add_bag(info)
    return info


def _cut_parser() -> ArgumentParser:
    cut = ArgumentParser(
        description="Copy a stretch of a bag, or some of its topics, or all of it into another storage. "
        "Stamps and receive times stay; of latched topics the last message before the stretch is kept.",
    )
    _add_bag(cut)
    _add_out(cut)
    cut.add_argument("--from", metavar="S", type=float, default=0.0, help="start, in seconds into the bag")
    cut.add_argument(
        "--to", metavar="S", type=float | None, default=None, help="end, in seconds into the bag"
    )
    cut.add_argument("--topics", metavar="TOPIC", type=str, nargs="+", default=None, help="copy only these")
    _add_storage(cut)
    return cut


def _extract_parser() -> ArgumentParser:
    extract = ArgumentParser(
        description="Write pairs of images as a data set in MFNet's layout: the optical image at the size of "
        "the thermal one, 16-bit thermal scaled to 8 bits. Then: csk data check mfnet:OUT.",
    )
    _add_bag(extract)
    extract.add_argument("out", metavar="OUT", type=str, help="folder of the data set; must not exist")
    _add_text(extract, "--eo", "TOPIC", "topic of the optical images; default: found by name")
    _add_text(extract, "--ir", "TOPIC", "topic of the thermal images; default: found by name")
    _add_text(extract, "--labels", "TOPIC", "topic of the label maps, of MFNet's classes")
    extract.add_argument("--every", metavar="N", type=int, default=1, help="take every N-th pair")
    extract.add_argument(
        "--rate", metavar="HZ", type=float | None, default=None, help="pairs per second, at most"
    )
    extract.add_argument(
        "--slop", metavar="S", type=float, default=0.05, help="greatest difference of the stamps of a pair"
    )
    return extract


def _label_parser() -> ArgumentParser:
    label = ArgumentParser(description="Copy a bag and add label maps to it, on /labels/image.")
    _add_bag(label)
    _add_out(label)
    label.add_argument(
        "--labels",
        metavar="DIR",
        type=str,
        required=True,
        help="PNGs of class ids, named as by extract: by the thermal image's stamp (<ns> or <sec>.<nsec>)",
    )
    _add_text(label, "--ir", "TOPIC", "topic of the thermal images; default: found by name")
    _add_text(label, "--label-set", "FILE", "JSON with names and colors (default: the bag's own, or MFNet's)")
    _add_storage(label)
    return label


def _add_bag(parser: ArgumentParser) -> None:
    parser.add_argument(
        "bag", metavar="BAG", type=str, help="a rosbag2 folder or file (.mcap, .db3), or a ROS 1 .bag"
    )


def _add_out(parser: ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", type=str, help="folder of the new bag; must not exist")


def _add_storage(parser: ArgumentParser) -> None:
    parser.add_argument("--storage", type=Literal["mcap", "sqlite3"], default="mcap", help="storage of OUT")
    parser.add_argument("--compress", type=Literal["none", "zstd"], default="none", help="compress OUT")


def _add_text(parser: ArgumentParser, flag: str, metavar: str, text: str) -> None:
    parser.add_argument(flag, metavar=metavar, type=str | None, default=None, help=text)


def _make(arguments: Namespace) -> int:
    from csk_ros.replay.samples import write_samples

    samples, options = _source(arguments)
    write_samples(arguments.out, samples, storage=arguments.storage, compress=arguments.compress, **options)
    print(f"wrote {len(samples)} frames to {arguments.out}")
    return 0


def _source(arguments: Namespace) -> tuple[SampleSet, dict[str, Any]]:
    """What to write, and how its stamps are to be."""
    from csk_ros.data.folder_pair import FolderPair
    from csk_ros.data.registry import open_samples
    from csk_ros.data.video_pair import VideoPair

    images = arguments.eo_images, arguments.ir_images
    videos = arguments.eo_video, arguments.ir_video
    if sum((arguments.data is not None, any(images), any(videos))) != 1:
        _refuse("give one of --data, --eo-images with --ir-images, or --eo-video with --ir-video")
    if arguments.data is not None:
        return open_samples(arguments.data, arguments.split), {"rate_hz": arguments.rate}
    if not (all(images) or all(videos)):
        _refuse("both cameras are needed: give the --eo-... and the --ir-... of it")
    if arguments.rate is not None and arguments.rate <= 0:
        raise ValueError(f"rate is {arguments.rate:g}: it must be above 0")
    if all(videos):
        pair = VideoPair(*videos, rate_hz=arguments.rate)
        if len(set(pair.frames)) > 1:
            _warn(
                [f"the videos have {pair.frames[0]} and {pair.frames[1]} frames: the last ones are left out"]
            )
        return pair, {}
    folders = FolderPair(*images, arguments.labels, rate_hz=arguments.rate, pair=arguments.pair)
    if arguments.label_set is not None:
        folders.label_set = _label_set(arguments.label_set)
    return folders, {"start_ns": folders[0].stamp_ns} if folders.has_stamps else {}


def _refuse(text: str) -> NoReturn:
    """End with the exit code of wrong arguments."""
    print(f"csk: error: {text}", file=sys.stderr)
    raise SystemExit(2)


def _info(arguments: Namespace) -> int:
    from csk_ros.replay.info import describe_bag

    text, problems = describe_bag(arguments.bag)
    print(text)
    return _report(problems)


def _cut(arguments: Namespace) -> int:
    from csk_ros.replay.copy import cut_bag

    copied = cut_bag(
        arguments.bag,
        arguments.out,
        from_s=arguments["from"],
        to_s=arguments.to,
        topics=arguments.topics,
        storage=arguments.storage,
        zstd=arguments.compress == "zstd",
    )
    print(f"wrote {copied.messages} messages to {arguments.out}")
    return _report(copied.problems, copied.skipped)


def _extract(arguments: Namespace) -> int:
    from csk_ros.replay.extract import extract_images

    done = extract_images(
        arguments.bag,
        arguments.out,
        eo_topic=arguments.eo,
        ir_topic=arguments.ir,
        labels_topic=arguments.labels,
        every=arguments.every,
        rate_hz=arguments.rate,
        slop_s=arguments.slop,
    )
    print(f"wrote {done.frames} frames, {done.labelled} with labels, to {arguments.out}")
    if done.unpaired:
        _warn([f"{done.unpaired} thermal images have no optical one within {arguments.slop:g} s"])
    return _report(done.problems)


def _label(arguments: Namespace) -> int:
    from csk_ros.replay.label import label_bag

    done = label_bag(
        arguments.bag,
        arguments.out,
        arguments.labels,
        ir_topic=arguments.ir,
        label_set=None if arguments.label_set is None else _label_set(arguments.label_set),
        storage=arguments.storage,
        zstd=arguments.compress == "zstd",
    )
    print(f"wrote {done.labels} label maps and {done.copied.messages} messages to {arguments.out}")
    for files, why in (
        (done.empty, "hold no labelled pixel"),
        (done.unmatched, "have a stamp that no image has"),
    ):
        if files:
            names = ", ".join(file.name for file in files[:_SHOWN]) + (", ..." if len(files) > _SHOWN else "")
            _warn([f"{len(files)} label files {why} and are left out: {names}"])
    return _report(done.copied.problems, done.copied.skipped)


def _label_set(path: str) -> LabelSet:
    import json
    from pathlib import Path

    from csk_ros.labels import LabelSet

    try:
        return LabelSet.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is no label set: {error}") from error


def _report(problems: list[str], skipped: Mapping[str, str] | None = None) -> int:
    """Write what was left out to stderr; gives the exit code."""
    if skipped:
        _warn([f"left out: {'; '.join(f'{topic} ({why})' for topic, why in skipped.items())}"])
    _warn(problems)
    return DAMAGED if problems else 0


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"csk: {line}", file=sys.stderr)
