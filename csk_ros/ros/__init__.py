"""The lifecycle node around :mod:`csk_ros.perception` and :mod:`csk_ros.inference`."""
