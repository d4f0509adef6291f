from glob import glob

from setuptools import find_packages, setup

NAME = "csk_ros"

# The Jazzy versions of the ROS wheels: the real client library and the real Fast DDS in a plain Python.
ROS = [
    "ros-rclpy[fastrtps]==7.1.6",
    "ros-sensor-msgs==5.3.6",
    "ros-diagnostic-msgs==5.3.6",
    "ros-std-srvs==5.3.6",
    "ros-lifecycle-msgs==2.0.3",
    "ros-rosgraph-msgs==2.0.3",
    "rosbags-image>=0.9",  # stands in for cv_bridge: Bayer, YUV
]
EVALUATE = ["matplotlib>=3.7", "tqdm>=4.60"]
REPLAY = [*EVALUATE, "rosbags>=0.11", "mcap>=1.1", "lz4>=4.0", "zstandard>=0.20", "jinja2>=3.0"]
OPENVINO = ["openvino>=2024.4"]
ONNX = ["onnx>=1.16", "onnxscript>=0.2", "onnxruntime>=1.18"]
EXPORT = [*ONNX, *OPENVINO, "nncf>=2.14"]
TRAIN = ["lightning>=2.4", "tensorboard>=2.16", "tqdm>=4.60"]

setup(
    name=NAME,
    version="0.1.0",
    description="RGB-thermal semantic segmentation for ROS 2 that falls back to thermal alone.",
    long_description=open("README.md", encoding="utf-8").read(),  # noqa: SIM115 (the interpreter ends at once)
    long_description_content_type="text/markdown",
    maintainer="csk_ros maintainers",
    maintainer_email="maintainers@csk-ros.invalid",
    license="Apache-2.0",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed"], f"{NAME}.replay": ["*.html"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", glob("launch/*.py")),
        (f"share/{NAME}/config", [p for p in glob("config/*") if "." in p]),
        (f"share/{NAME}/config/compare", glob("config/compare/*")),
        (f"share/{NAME}/config/sros2", glob("config/sros2/*")),
        (f"share/{NAME}/config/train", glob("config/train/*")),
        (f"share/{NAME}/models", glob("models/*.*")),
    ],
    python_requires=">=3.10",
    install_requires=[
        "numpy>=1.24",
        "opencv-python-headless>=4.6",
        "pyyaml>=6.0",
        "safetensors>=0.4",
        "torch>=2.2",
        "jsonargparse[signatures]>=4.33",
    ],
    extras_require={
        "ros": ROS,
        "replay": REPLAY,
        "train": TRAIN,
        "evaluate": EVALUATE,
        "openvino": OPENVINO,
        "onnx": ONNX,
        "export": EXPORT,
        "bench": [*ROS, *EVALUATE],
        "demo": [*ROS, *REPLAY, *OPENVINO],
        "dev": [
            *ROS,
            *REPLAY,
            *TRAIN,
            *EXPORT,
            "hypothesis>=6",
            "mypy>=1.10",
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.5",
            "ruff>=0.5",
            "types-PyYAML",
        ],
    },
    entry_points={
        "console_scripts": [
            "segment_node = csk_ros.ros.segment_node:main",
            "csk = csk_ros.cli.main:main",
        ],
    },
)
