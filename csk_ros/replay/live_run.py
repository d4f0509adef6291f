"""Live replay: plays a bag in real time to the node, records what it answers, and says how it did."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from csk_ros.messages import ImageError, read_ir
from csk_ros.replay.bag import (
    COMPRESSED_IMAGE,
    LABEL_SET_KEY,
    BagError,
    BagReader,
    BagWriter,
    refuse_existing,
)
from csk_ros.replay.live import LiveError, LiveSession
from csk_ros.replay.live_result import describe_node, make_result
from csk_ros.replay.node_process import (
    NodeProcess,
    NodeProcessError,
    join_private_domain,
    use_image_profile,
)
from csk_ros.replay.played import Played
from csk_ros.replay.player import Player
from csk_ros.replay.provenance import find_checkpoint
from csk_ros.replay.recorder import Recorder
from csk_ros.replay.source import Source
from csk_ros.replay.topics import InputTopics, find_topics
from csk_ros.replay.usage import UsageWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from csk_ros.modality import Modality
    from csk_ros.replay.live_settings import LiveSettings
    from csk_ros.replay.played import NodeReports
    from csk_ros.replay.result import ReplayResult

START_KEY = "csk_ros.replay_start_ns"
RATE_KEY = "csk_ros.replay_rate"
_HEARD_S = 2.5


def run_live(settings: LiveSettings) -> ReplayResult:
    """Play a bag to the node and measure what comes back.

    Ctrl-C ends the playing; what there is by then is the result, with ``complete`` False. A second one ends
    at once and leaves nothing. Progress goes to stderr.

    Raises:
        BagError: if the bag cannot be read, or the bag of masks not be written.
        LiveError: if the node is not there, does not become active or does not listen to the images.
        FileNotFoundError: no weights.
        OSError: if the bag of masks cannot be written on.
    """
    with BagReader(settings.bag) as bag:
        topics = find_topics(bag, eo=settings.eo, ir=settings.ir, labels=settings.labels)
        played = play_live(settings, bag, topics)
        return make_result(settings, bag, topics, played)


def play_live(settings: LiveSettings, bag: BagReader, topics: InputTopics) -> Played:
    """Play an open bag; as :func:`run_live`, before figures are made of it."""
    if not topics.modalities:
        raise BagError(f"nothing to play from {bag.path}: give --eo or --ir a topic")
    refuse_existing(settings.masks)
    use_image_profile()
    if settings.node is not None:
        with LiveSession(settings.node) as session:
            return _Run(settings, bag, topics, session).play(lambda: True, None)
    return _play_to_own_node(settings, bag, topics)


def _play_to_own_node(settings: LiveSettings, bag: BagReader, topics: InputTopics) -> Played:
    parameters = _node_parameters(settings, bag, topics)
    join_private_domain()
    log = settings.log or settings.masks.parent / "node.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        NodeProcess(log, parameters, params_file=settings.parameters_file) as node,
        _log_on_failure(node),
        LiveSession() as session,
    ):
        played = _Run(settings, bag, topics, session).play(node.alive, node.pid)
        try:
            node.stop()
        except NodeProcessError as error:
            sys.stderr.write(node.tail())
            return dataclasses.replace(played, ending=str(error))
    return played


def _node_parameters(settings: LiveSettings, bag: BagReader, topics: InputTopics) -> dict[str, str]:
    given = dict(settings.parameters)
    if given.get("checkpoint"):
        given["checkpoint"] = str(find_checkpoint(given["checkpoint"]))
    transports = {
        f"{modality.value}_transport": "compressed" if _is_compressed(bag, topic) else "raw"
        for topic, modality in topics.modalities.items()
    }
    clock = {"use_sim_time": "true"} if settings.clock else {}
    size = {} if settings.parameters_file else _size(bag, topics)
    return size | given | transports | clock | {"autostart": "true"}


def _size(bag: BagReader, topics: InputTopics) -> dict[str, str]:
    """The size of the bag's images: known before, the engine is made ready for it before the first image."""
    try:
        record = next(bag.records([topics.ir or topics.eo or ""]))
        height, width = read_ir(record.message).shape
    except (StopIteration, BagError, ImageError):
        return {}
    return {"height": str(height), "width": str(width)}


class _Run:
    """One run with a node that exists.

    Args:
        settings: what to do.
        bag: open.
        topics: of the bag.
        session: in DDS.
    """

    def __init__(
        self, settings: LiveSettings, bag: BagReader, topics: InputTopics, session: LiveSession
    ) -> None:
        self._settings, self._bag, self._session = settings, bag, session
        self._topics = InputTopics(topics.eo, topics.ir, None)

    def play(self, alive: Callable[[], bool], pid: int | None) -> Played:
        """Play and record.

        Args:
            alive: whether the node's process still runs, as far as can be told.
            pid: of the node's process, where it is known.
        """
        settings, session = self._settings, self._session
        session.wait_until_active(alive, settings.active_s)
        with BagWriter(settings.masks, zstd=True) as writer:
            recorder = Recorder(session.node, writer, session.segment)
            player = self._player()
            self._match(player, recorder)
            others = [topic for topic in player.topics if session.node.count_publishers(topic) > 1]
            # A node of its own has received nothing yet.
            unheard = pid is None and not session.wait(recorder.heard, _HEARD_S)
            recorder.begin()
            complete, watch = self._play(player, recorder, alive, pid)
            recorder.stop()
            reports = recorder.reports()
            label_set, facts = describe_node(reports.facts, self._bag)
            writer.note(LABEL_SET_KEY, json.dumps(label_set.to_dict()))
            writer.note(START_KEY, str(player.start_ns))
            writer.note(RATE_KEY, f"{settings.rate:g}")
            player.close()
        return Played(
            start_ns=player.start_ns,
            start_s=settings.start_s,
            rate=settings.rate,
            length_s=player.length_s,
            complete=complete,
            sent=tuple(player.sent),
            masks=tuple(recorder.masks),
            routes=tuple(sorted(recorder.routes)),
            reports=reports,
            label_set=label_set,
            usage=tuple(watch.samples),
            facts=facts,
            problems=tuple(_problems(player, reports, others, unheard=unheard)),
        )

    def _play(
        self, player: Player, recorder: Recorder, alive: Callable[[], bool], pid: int | None
    ) -> tuple[bool, UsageWatch]:
        """Whether everything was played, and the usage on the way."""
        settings = self._settings
        with _stopping_on_interrupt() as stopping:

            def check() -> None:
                if not (alive() and self._session.receiving):
                    stopping.set()

            length_s = self._source().length_s * settings.loop
            with UsageWatch(pid, check) as watch, _seconds_bar(length_s, shown=settings.progress) as bar:
                complete = player.play(
                    settings.start_s, stopping, shown=lambda seconds: _advance(bar, seconds)
                )
                if not player.sent and not stopping.is_set():
                    raise BagError(
                        player.failure or f"there is nothing to play in this part of {self._bag.path}"
                    )
                if alive():
                    sent = {modality: player.count(modality) for modality in self._topics.modalities.values()}
                    recorder.wait_for_account(sent, settings.settle_s)
        return complete, watch

    def _player(self) -> Player:
        settings = self._settings
        publish = {
            topic: settings.publish.get(modality) or self._default_topic(topic, modality)
            for topic, modality in self._topics.modalities.items()
        }
        return Player(
            self._session.node,
            self._bag,
            publish,
            modalities=self._topics.modalities,
            open_source=self._source,
            rate=settings.rate,
            turns=settings.loop,
            clock=settings.clock,
        )

    def _source(self) -> Source:
        settings = self._settings
        return Source(
            self._bag, self._topics, settings.injections, start_s=settings.start_s, end_s=settings.end_s
        )

    def _default_topic(self, topic: str, modality: Modality) -> str:
        end = "/compressed" if _is_compressed(self._bag, topic) else ""
        return f"{self._session.namespace}/{modality.value}/image{end}"

    def _match(self, player: Player, recorder: Recorder) -> None:
        session, timeout_s = self._session, self._settings.match_s

        def listens() -> bool:
            return player.matched() and set(player.topics) <= set(session.inputs())

        if not session.wait(listens, timeout_s):
            inputs = [f"{topic} ({transport})" for topic, transport in session.inputs().items()]
            raise LiveError(
                f"the node {session.segment} does not listen to {' and '.join(player.topics)} within "
                f"{timeout_s:.0f} s: the images it subscribes to are {', '.join(inputs) or 'none'}"
            )
        if not session.wait(recorder.matched, timeout_s):
            raise LiveError(
                f"the node {session.segment} does not publish {session.segment}/mask and "
                f"{session.segment}/route within {timeout_s:.0f} s"
            )


def _problems(player: Player, reports: NodeReports, others: list[str], *, unheard: bool) -> Iterator[str]:
    if player.failure:
        yield f"{player.failure}; what came before was played"
    if player.unsent:
        yield f"{player.unsent} messages of the bag are no images that could be sent"
    if player.stamp_shift_s:
        yield (
            f"the stamps of the bag are {player.stamp_shift_s:g} s from its times of receipt, another clock: "
            "latency counts from the moment at which the first image was due"
        )
    if others:
        yield f"others publish on {' and '.join(others)} too: their images are in the node's counts"
    if unheard and reports.account:
        yield "the node told no counts before the start: they may hold earlier images"
    if reports.restarts:
        yield f"the node's counts began anew {reports.restarts} times: what it had not reported is missing"


def _is_compressed(bag: BagReader, topic: str) -> bool:
    return bag.topics[topic].msgtype == COMPRESSED_IMAGE


@contextlib.contextmanager
def _log_on_failure(node: NodeProcess) -> Iterator[None]:
    try:
        yield
    except (LiveError, NodeProcessError):
        sys.stderr.write(node.tail())
        raise


@contextlib.contextmanager
def _stopping_on_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second one is the usual KeyboardInterrupt."""
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping  # signals are the main thread's
        return
    usual = signal.getsignal(signal.SIGINT)

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, usual)
        sys.stderr.write("\nstopping: writing what there is (Ctrl-C again to end at once)\n")
        stopping.set()

    signal.signal(signal.SIGINT, stop)
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGINT, usual)


def _advance(bar: Any, seconds: float) -> None:
    bar.update((min(seconds, bar.total) if bar.total else seconds) - bar.n)


def _seconds_bar(seconds: float, *, shown: bool) -> Any:
    endless = "{desc}: {n:.1f} s"
    layout = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} s" if seconds else endless
    return tqdm(total=seconds or None, desc="playing", bar_format=layout, disable=not shown, file=sys.stderr)
