"""How the node is started, for cures that start it anew, and which topics may be meant."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

NEAR_TOPICS = 3
"""Most topics that are suggested."""

_WORDS = {
    "eo": ("eo", "rgb", "color", "colour", "visible", "optical", "camera", "front"),
    "ir": ("ir", "thermal", "lwir", "flir", "boson", "lepton", "infrared"),
}


@dataclass(frozen=True)
class Start:
    """How the node is started, for cures that start it anew.

    Attributes:
        topics: of EO and IR, by ``eo`` and ``ir``.
        namespace: of the node.
        params_file: of the node, or empty.
        launch: whether ``ros2 launch`` exists here.
    """

    topics: dict[str, str]
    namespace: str = ""
    params_file: str = ""
    launch: bool = True

    def command(self, modality: str, topic: str, transport: str = "") -> str:
        """The command line with another topic, and transport, of one modality."""
        topics = self.topics | {modality: topic}
        if self.launch:
            pairs = {f"{name}_topic": value for name, value in topics.items() if value != f"{name}/image"}
            pairs |= {f"{modality}_transport": transport} if transport else {}
            pairs |= {"namespace": self.namespace} if self.namespace else {}
            pairs |= {"params_file": self.params_file} if self.params_file else {}
            launch = "ros2 launch csk_ros segment.launch.py"
            return " ".join([launch, *(f"{name}:={value}" for name, value in pairs.items())])
        ends = {modality: "/compressed"} if transport == "compressed" else {}
        names = {
            f"{name}/image{ends.get(name, '')}": f"{topics[name]}{ends.get(name, '')}" for name in topics
        }
        return self._node(names, {f"{modality}_transport": transport} if transport else {})

    def command_compressed(self, modality: str, topic: str) -> str:
        """The same with compressed images on a topic that is named like a raw one; launch cannot do this."""
        names = {f"{name}/image": value for name, value in self.topics.items() if name != modality}
        return self._node(
            names | {f"{modality}/image/compressed": topic}, {f"{modality}_transport": "compressed"}
        )

    def _node(self, remappings: dict[str, str], parameters: dict[str, str]) -> str:
        namespace = self.namespace.strip("/")
        return " ".join(
            [
                "segment_node --ros-args -p autostart:=true",
                *([f"-r __ns:=/{namespace}"] if namespace else []),
                *([f"--params-file {self.params_file}"] if self.params_file else []),
                *(f"-p {name}:={value}" for name, value in parameters.items()),
                *(f"-r {name}:={topic}" for name, topic in remappings.items() if name != topic),
            ]
        )


def near_topics(modality: str, wanted: str, topics: list[str]) -> list[str]:
    """The topics that are likeliest meant, best first.

    By words for this kind of camera and not for the other, by the namespace, then by spelling.
    """

    def likeness(topic: str) -> float:
        parts = topic.lower().replace("_", "/").split("/")
        hits = {name: any(p.startswith(w) for p in parts for w in words) for name, words in _WORDS.items()}
        other = "ir" if modality == "eo" else "eo"
        namespace = topic.split("/")[:2] == wanted.split("/")[:2]
        return hits[modality] - hits[other] + namespace + difflib.SequenceMatcher(None, wanted, topic).ratio()

    return sorted(topics, key=lambda topic: (-likeness(topic), topic))[:NEAR_TOPICS]
