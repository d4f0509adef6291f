"""Holds the rule of docs/architecture.md: which room may import which, and what a robot need not install."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "csk_ros"
LEAVES = {"labels", "modality", "messages", "compressed", "share"}
LEAF_ALLOWED = {"messages": {"compressed"}, "looking": {"messages", "perception"}}
ALLOWED = {
    "network": set(),
    "data": set(),
    "perception": set(),
    "inference": {"network"},
    "evaluation": {"inference", "data", "network"},
    "training": {"evaluation", "inference", "data", "network"},
    "ros": {"perception", "inference", "looking"},
    "replay": {"perception", "inference", "evaluation", "data", "looking"},
    "cli": {"training", "evaluation", "replay", "data", "ros"},
}
FOREIGN = {  # third-party packages that a room must do without
    "network": {"rclpy", "lightning", "sensor_msgs", "rosbags"},
    "data": {"rclpy", "sensor_msgs", "rosbags", "lightning"},
    "training": {"rclpy", "sensor_msgs", "rosbags"},
    "inference": {"rclpy", "sensor_msgs", "lightning", "rosbags"},
    "evaluation": {"rclpy", "sensor_msgs", "lightning", "rosbags"},
    "perception": {"rclpy", "sensor_msgs", "torch", "numpy", "threading", "time", "lightning", "rosbags"},
    "ros": {"lightning", "rosbags", "torchmetrics", "matplotlib", "jinja2", "jsonargparse", "tqdm"},
}
ON_A_ROBOT = {"torch", "numpy", "cv2", "yaml", "safetensors", "rclpy"}
ONLY_FOR_TRAINING = [
    "lightning",
    "tensorboard",
    "torchmetrics",
    "jsonargparse",
    "rosbags",
    "matplotlib",
    "jinja2",
    "tqdm",
]


def imports(path: Path) -> set[str]:
    """Dotted names that a module imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the full name"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_downwards(path: Path):
    names = imports(path)
    own = {name.split(".")[1] for name in names if name.startswith("csk_ros.")} - {"__version__"}
    relative = path.relative_to(PACKAGE)
    if len(relative.parts) == 1:
        allowed = LEAF_ALLOWED.get(relative.stem, set())
        assert own <= allowed, f"{relative} is a leaf and imports nothing of the package but {allowed}"
        return
    room = relative.parts[0]
    assert own <= LEAVES | ALLOWED[room] | {room}, (
        f"{relative} imports {own - LEAVES - ALLOWED[room] - {room}}"
    )
    foreign = {name.split(".")[0] for name in names} & FOREIGN.get(room, set())
    assert not foreign, f"{relative} imports {foreign}, which {room} must do without"


def test_every_folder_is_a_room():
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders == set(ALLOWED)


def test_the_node_imports_without_the_training_extras():
    code = (
        "import sys\n"
        f"for name in {ONLY_FOR_TRAINING}: sys.modules[name] = None\n"
        "import csk_ros.ros.segment_node\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
