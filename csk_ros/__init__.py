"""RGB-thermal semantic segmentation for ROS 2, with fallback to thermal alone."""

__version__ = "0.1.0"
