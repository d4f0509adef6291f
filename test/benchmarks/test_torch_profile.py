from __future__ import annotations

import re
import sys
from types import SimpleNamespace

import pytest
import torch
import torch_profile

from csk_ros.inference import EngineError


def test_operators_of_a_frame_with_their_calls_longest_first():
    left, right = torch.rand(300, 300), torch.rand(300, 300)

    def frame():
        with torch.profiler.record_function("no operator"):
            return (left @ right).relu().relu()

    operators = torch_profile.profiled(frame, torch.device("cpu"), 3)
    calls = {operator.name: operator.calls for operator in operators}
    assert "no operator" not in calls
    assert calls["aten::mm"] == 1
    assert calls["aten::relu"] == 2
    times = [operator.us for operator in operators]
    assert times == sorted(times, reverse=True)
    assert times[-1] > 0


def test_a_table_for_each_route(monkeypatch, capsys):
    threads = torch.get_num_threads()
    monkeypatch.setattr(sys, "argv", ["", "--device", "cpu", "--size", "64", "96", "--rounds", "2"])
    torch_profile.main()
    assert torch.get_num_threads() == threads
    printed = capsys.readouterr().out
    for route in ("EO_ONLY", "FUSED", "IR_ONLY"):
        assert f"{route} at 64x96, float32 on cpu:\neager " in printed
    assert printed.count("| all |") == 3
    assert "convolution" in printed


def test_what_a_cuda_graph_saves_is_told(monkeypatch, capsys):
    monkeypatch.setattr(torch_profile, "_wait", lambda _: None)
    engine = SimpleNamespace(
        device=torch.device("cuda"),
        logits=lambda _: torch.rand(1, 9, 200, 200).exp(),
        maps=lambda *_, **__: None,
    )
    torch_profile.print_frame(engine, {}, (400, 400), 3)
    told = re.search("without the CUDA graph ([0-9.]+) times as long", capsys.readouterr().out)
    assert float(told[1]) > 2


def test_a_device_that_is_not_there_is_a_usage_error(monkeypatch, capsys):
    def missing(_):
        raise EngineError("device 'cuda:7' is missing: use device cpu")

    monkeypatch.setattr(torch_profile, "find_device", missing)
    monkeypatch.setattr(sys, "argv", ["", "--device", "cuda:7"])
    with pytest.raises(SystemExit):
        torch_profile.main()
    assert "device 'cuda:7' is missing: use device cpu" in capsys.readouterr().err
