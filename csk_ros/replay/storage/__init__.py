"""The files of bags: mcap, sqlite3 and ROS 1, whole or damaged, read without running anything they hold."""
