"""Scores of a checkpoint on a data set, route by route, through the same Segmenter that is deployed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csk_ros.evaluation.metrics import RouteScores, Scores
from csk_ros.inference import Segmenter
from csk_ros.modality import Modality, Route

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csk_ros.data import Sample
    from csk_ros.network import Checkpoint


def score_routes(
    checkpoint: Checkpoint, samples: Iterable[Sample], *, device: str = "auto"
) -> dict[Route, Scores]:
    """The scores of every route of ``checkpoint``, each from exactly the images that the route reads.

    Args:
        checkpoint: the network and how to feed it.
        samples: labelled pairs.
        device: as :class:`~csk_ros.inference.Segmenter` takes it.

    Raises:
        ValueError: for a sample without labels, or with ids that are no class of the checkpoint.
    """
    segmenter = Segmenter.from_network(checkpoint, engine="torch", device=device, confidence=False)
    counts = RouteScores(segmenter.label_set)
    for sample in samples:
        if sample.labels is None:
            raise ValueError(f"{sample.name} has no labels to score on")
        images: dict[Modality, Any] = {Modality.EO: sample.eo, Modality.IR: sample.ir}
        for route in segmenter.routes:
            answer = segmenter.segment(**{m.value: images[m] for m in route.modalities})
            counts.update(route, answer.labels, sample.labels)
    return {route: counts.scores(route) for route in Route if route in counts.routes}
