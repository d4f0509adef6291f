from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image

from csk_ros.messages import stamp_to_ns
from csk_ros.replay.stamps import read_stamp, set_stamp


@given(
    sec=st.integers(0, 2**31 - 2),
    nanosec=st.integers(0, 10**9 - 1),
    offset_ns=st.integers(-(10**9), 10**9),
    frame_id=st.text("abc", max_size=5),
)
def test_setting_a_stamp_changes_nothing_else(sec, nanosec, offset_ns, frame_id):
    message = Image(height=1, width=2, step=2, encoding="mono8", data=[7, 8])
    message.header.stamp.sec, message.header.stamp.nanosec = sec, nanosec
    message.header.frame_id = frame_id
    wanted = sec * 10**9 + nanosec + offset_ns
    if not 0 <= wanted < 2**31 * 10**9:
        return
    data = set_stamp(serialize_message(message), wanted)
    shifted = deserialize_message(data, Image)
    assert wanted == stamp_to_ns(shifted.header.stamp) == read_stamp(data)
    shifted.header.stamp = message.header.stamp
    assert shifted == message


def test_stamps_of_big_endian_messages_are_read():
    assert read_stamp(b"\x00\x00\x00\x00" + struct.pack(">iI", 3, 5)) == 3_000_000_005
