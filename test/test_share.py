from __future__ import annotations

import pytest

from csk_ros.share import share_path


def test_finds_what_comes_with_the_package():
    assert share_path("config/fastdds.xml").read_text(encoding="utf-8").startswith("<?xml")


def test_missing_file_lists_where_it_looked():
    with pytest.raises(FileNotFoundError, match=r"models/none\.safetensors does not come with .*looked in"):
        share_path("models/none.safetensors")
