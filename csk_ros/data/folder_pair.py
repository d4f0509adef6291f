"""Two folders of images, optical and thermal, as a sequence of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from csk_ros.data.images import SUFFIXES, read_eo, read_ids, read_ir
from csk_ros.data.sample import Sample, checked_index, frame_stamp_ns
from csk_ros.data.stamps import stamp_from_name
from csk_ros.labels import MFNET, LabelSet

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN = 3


class FolderPair:
    """Pairs of files with the same stem, in the order of the stems, as a sample set.

    Stems that all are stamps (see :func:`~csk_ros.data.stamps.stamp_from_name`) are the stamps, unless a rate
    is given.

    Args:
        eo: folder of optical images, 8-bit colour.
        ir: folder of thermal images, 8 or 16 bit grey.
        labels: folder of label maps for some or all of them.
        rate_hz: frames per second; needed where the stems are no stamps.
        pair: "name": by stem; "order": the first with the first, where the stems differ.

    Raises:
        FileNotFoundError: if a folder is missing or holds no images.
        ValueError: if the files do not pair, or there are neither stamps nor a rate; names some.
    """

    label_set: LabelSet = MFNET

    def __init__(
        self,
        eo: str | Path,
        ir: str | Path,
        labels: str | Path | None = None,
        *,
        rate_hz: float | None = None,
        pair: Literal["name", "order"] = "name",
    ) -> None:
        eos, irs = _images(Path(eo)), _images(Path(ir))
        if pair == "order" and len(eos) != len(irs):
            raise ValueError(
                f"{eo} holds {len(eos)} images and {ir} {len(irs)}: pairing by order needs as many"
            )
        if pair == "name":
            _require_same_stems(Path(eo), eos, Path(ir), irs)
        self._pairs = list(zip(eos.values(), irs.values(), strict=True))
        self._labels = {} if labels is None else _images(Path(labels))
        if foreign := sorted(self._labels.keys() - irs.keys()):
            raise ValueError(f"{labels} holds labels of no image: {_some(foreign)}; name them as in {ir}")
        self._stamps = self._find_stamps(list(irs), rate_hz)
        span_ns = self._stamps[-1] - self._stamps[0]
        self.rate_hz = rate_hz or (len(self) - 1) * 1e9 / max(span_ns, 1) or 1.0

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        """The pair at ``index``.

        Raises:
            IndexError: outside the sequence.
            ValueError: if a file is no image of its kind; names it.
        """
        index = checked_index(index, len(self))
        eo, ir = self._pairs[index]
        labels = self._labels.get(ir.stem)
        return Sample(
            eo=read_eo(eo),
            ir=read_ir(ir),
            labels=None if labels is None else read_ids(labels),
            name=ir.stem,
            stamp_ns=self._stamps[index],
        )

    def __iter__(self) -> Iterator[Sample]:
        """All pairs in order."""
        return (self[index] for index in range(len(self)))

    @property
    def has_stamps(self) -> bool:
        """Whether the stems are stamps."""
        return self._named

    def _find_stamps(self, stems: list[str], rate_hz: float | None) -> list[int]:
        stamps = [stamp for stem in stems if (stamp := stamp_from_name(stem)) is not None]
        self._named = len(stamps) == len(stems) and rate_hz is None
        if self._named:
            if sorted(set(stamps)) != stamps:
                raise ValueError(
                    "the stamps in the names of the files do not increase: write all in one form"
                )
            return stamps
        if rate_hz is None:
            raise ValueError(
                "the names of the images are no stamps (nanoseconds, or sec.nsec): give --rate HZ"
            )
        return [frame_stamp_ns(index, rate_hz) for index in range(len(stems))]


def _images(folder: Path) -> dict[str, Path]:
    """Image files by stem, in the order of the stems."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}: check the path")
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.stem):
        if file.suffix.lower() not in SUFFIXES:
            continue
        if file.stem in files:
            raise ValueError(f"{files[file.stem]} and {file.name} have one stem: keep one")
        files[file.stem] = file
    if not files:
        raise FileNotFoundError(f"{folder} holds no images ({', '.join(SUFFIXES)})")
    return files


def _require_same_stems(eo: Path, eos: dict[str, Path], ir: Path, irs: dict[str, Path]) -> None:
    alone = [(folder, sorted(a.keys() - b.keys())) for folder, a, b in ((eo, eos, irs), (ir, irs, eos))]
    if not any(stems for _, stems in alone):
        return
    parts = [f"{len(stems)} only in {folder} ({_some(stems)})" for folder, stems in alone if stems]
    advice = (
        "rename them" if len(eos) != len(irs) else "rename them, or pair them as sorted with --pair order"
    )
    raise ValueError(f"{eo} holds {len(eos)} images and {ir} {len(irs)}; {' and '.join(parts)}: {advice}")


def _some(stems: list[str]) -> str:
    return ", ".join(stems[:_SHOWN]) + (", ..." if len(stems) > _SHOWN else "")
