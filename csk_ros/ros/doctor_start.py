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
            return " ".join(
                ["ros2 launch csk_ros segment.launch.py", *(f"{k}:={v}" for k, v in pairs.items())]
            )
        parts = ["segment_node --ros-args -p autostart:=true"]
        parts += [f"-r __ns:=/{self.namespace.strip('/')}"] if self.namespace else []
        parts += [f"--params-file {self.params_file}"] if self.params_file else []
        parts += [f"-p {modality}_transport:={transport}"] if transport else []
        for name, value in topics.items():
            end = "/compressed" if name == modality and transport == "compressed" else ""
            if value != f"{name}/image":
                parts.append(f"-r {name}/image{end}:={value}{end}")
        return " ".join(parts)


def near_topics(modality: str, wanted: str, topics: list[str]) -> list[str]:
    """The topics that are likeliest meant, best first: by words for this kind of camera, then by spelling."""

    def likeness(topic: str) -> float:
        parts = topic.lower().replace("_", "/").split("/")
        hits = {name: any(p.startswith(w) for p in parts for w in words) for name, words in _WORDS.items()}
        other = "ir" if modality == "eo" else "eo"
        return hits[modality] - hits[other] + difflib.SequenceMatcher(None, wanted, topic).ratio()

    return sorted(topics, key=lambda topic: (-likeness(topic), topic))[:NEAR_TOPICS]
