from __future__ import annotations

import base64
import dataclasses
import re
import shutil
import subprocess
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from made_result import make_result, many_rows, without_masks
from page_reader import Page
from squares_samples import Squares

from csk_ros.labels import FMB, LabelSet
from csk_ros.modality import Modality
from csk_ros.replay.injection import Injection
from csk_ros.replay.report import write_report
from csk_ros.replay.result import StreamSample

CUT = (0.8, 1.4)
HOSTILE = "<script>alert(1)</script>"
HOSTILE_SET = LabelSet((HOSTILE, "$\\frac{$_" + "x" * 60), ((20, 20, 20), (250, 80, 10)))


@pytest.fixture(scope="module", params=["offline", "live"])
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return make_result(folder, Squares(frames=24), (CUT,), kind=request.param, dropped=(3, 10))


def _written(folder, result, title="A <drive>"):
    write_report(folder, result, title=title)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_stands_alone_with_text_for_every_picture(made, tmp_path):
    text = _written(tmp_path, made)
    page = Page(text)
    assert page.outside == []
    assert "script" not in page.tags
    charts = 4 if made.kind == "live" else 3
    moments = sum("moment" in tag for tag in re.findall(r'<figure class="(\w+)"', text))
    assert len(page.images) == charts + 4 * moments
    assert all(len(image["alt"]) > 25 for image in page.images)
    assert "A &lt;drive&gt;" in text
    assert "&lt;weights&gt;" in text
    assert "22 of 24" in text
    assert page.tags.count("h1") == 1


def test_words_tell_a_live_run_from_an_offline_one(made, tmp_path):
    text = _written(tmp_path, made)
    live = made.kind == "live"
    assert ("Latency, stamp to mask" in text) == live
    assert ("Segmenter time of a frame" in text) != live
    assert ("What the node used" in text) == live


def test_the_timeline_can_be_read_out(made, tmp_path):
    route, eo, ir = Page(_written(tmp_path, made)).labels
    assert route == "Route: FUSED from 0.0 to 0.8 s, IR_ONLY from 0.8 to 1.4 s, FUSED from 1.4 to 2.3 s"
    assert eo.startswith("EO stream: alive from 0.0 to 1.0 s, stale from")
    assert eo.endswith("injected eo drop from 0.8 s to 1.4 s from 0.8 to 1.4 s")
    assert ir == "IR stream: alive from 0.0 to 2.3 s"


def test_charts_are_the_same_each_time_and_hold_real_text(made, tmp_path):
    pages = [Page(_written(tmp_path, made)) for _ in range(2)]
    assert pages[0].images == pages[1].images
    charts = [
        base64.b64decode(image["src"].split(",")[1]) for image in pages[0].images if "svg" in image["src"]
    ]
    for chart in charts:
        texts = [one.text for one in ET.fromstring(chart).iter("{http://www.w3.org/2000/svg}text")]
        assert any("time" in text or "ms" in text for text in texts)


def test_a_picture_that_is_missing_says_why(made, tmp_path):
    alts = [image["alt"] for image in Page(_written(tmp_path, made)).images]
    missing = {alt for alt in alts if "not used" in alt}
    assert len(missing) == 3
    assert "Optical image at 0.80 seconds, route IR_ONLY: not used, eo stale." in missing
    assert all(alt.startswith("Optical image at") for alt in missing)


def test_problems_stand_on_top(made, tmp_path):
    damaged = dataclasses.replace(made, complete=False, problems=("the bag is cut & short at <2 s>",))
    text = _written(tmp_path, damaged)
    assert text.index("Incomplete: only a part") < text.index("Summary")
    assert "the bag is cut &amp; short at &lt;2 s&gt;" in text
    assert "Incomplete" not in _written(tmp_path, made)


def test_confusion_is_in_percent_of_each_labelled_class(made, tmp_path):
    text = _written(tmp_path, made)
    matrix = text[text.index('aria-label="Confusion matrix of IR_ONLY"') :]
    cells = re.findall(r"<td[^>]*>([\d.]*)</td>", matrix[: matrix.index("</table>")])
    counts = made.scores.scores(made.rows[9].route).confusion
    expected = 100 * counts / counts.sum(axis=1, keepdims=True)
    assert [float(cell) for cell in cells] == pytest.approx(np.round(expected, 1).ravel().tolist())


def _hostile(folder):
    samples = Squares(frames=24, label_set=HOSTILE_SET)
    result = make_result(folder, samples, (CUT,), kind="live")
    bag = result.bag.rename(folder / "we'ird \"<b>bag\udcff")
    samples_of_eo = (StreamSample(0.0, "UNUSABLE", 9.0, HOSTILE), *result.streams[Modality.EO][3:])
    return dataclasses.replace(
        result,
        bag=bag,
        streams=dict(result.streams) | {Modality.EO: samples_of_eo},
        problems=(HOSTILE, "y" * 300),
        labels=HOSTILE,
        configuration={HOSTILE: HOSTILE, "long": "z" * 400},
        versions={"machine": HOSTILE},
        stages_ms={HOSTILE: 1.0},
        counts={HOSTILE: 3},
        rows=(*result.rows[:-1], dataclasses.replace(result.rows[-1], cause=HOSTILE)),
    )


def test_names_are_shown_and_never_obeyed(tmp_path):
    page = Page(_written(tmp_path, _hostile(tmp_path), title=HOSTILE))
    assert {"script", "b"} & set(page.tags) <= {"b"}
    assert HOSTILE in page.texts
    assert any(text.startswith("we'ird \"<b>bag") for text in page.texts)
    assert page.outside == []


# A window is never narrower than 500 pixels, a frame inside of it may be.
_FRAME = """<title>?</title><script>addEventListener("message", e => { document.title = e.data; });</script>
<iframe src="measured.html" style="width: %dpx; height: 900px; border: 0"></iframe>"""
_MEASURE = """<script>addEventListener("load", () => {
  const apart = (a, b) => a.right <= b.left + 1 || b.right <= a.left + 1
                       || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
  const bad = [];
  for (const list of ["main > section, .pair > section", ".figures > div", ".ticks > span", ".keys > li",
                      ".legend > li", "nav > a", ".panels > div", ".matrix", ".moment",
                      ".confusion thead div"]) {
    const boxes = [...document.querySelectorAll(list)].map(e => [e, e.getBoundingClientRect()]);
    for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++)
      if (boxes[i][0].parentNode === boxes[j][0].parentNode && !apart(boxes[i][1], boxes[j][1]))
        bad.push(list + " " + boxes[i][0].textContent.trim().slice(0, 30));
  }
  for (const e of document.querySelectorAll("dd, dt, h1, h2, h3, p, li, figcaption"))
    if (e.scrollWidth > e.clientWidth + 1) bad.push("spills: " + e.textContent.trim().slice(0, 30));
  for (const e of document.images) if (!e.naturalWidth) bad.push("no picture: " + e.alt);
  const root = document.documentElement;
  parent.postMessage(JSON.stringify([innerWidth, root.scrollWidth, bad]), "*");
});</script>"""


def _many_classes(folder):
    samples = Squares(frames=24, label_set=FMB)
    cuts = ((0.4, 0.8), (1.4, 1.8))
    result = make_result(folder, samples, cuts)
    scores = result.scores
    for route in scores.routes:
        scores._confusions[route] = np.random.default_rng(0).integers(0, 10**6, (len(FMB), len(FMB)))
    return result


def _flapping(folder):
    (folder / "short").mkdir()
    return many_rows(make_result(folder / "short", Squares(frames=24), (CUT,)), 6000)


def _all_kinds(folder):
    return {
        "live": lambda: make_result(folder, Squares(frames=24), (CUT,), kind="live"),
        "hostile": lambda: _hostile(folder),
        "14 classes": lambda: _many_classes(folder),
        "flapping": lambda: _flapping(folder),
        "no masks": lambda: without_masks(make_result(folder, Squares(frames=24), (CUT,))),
        "many injections": lambda: dataclasses.replace(
            make_result(folder, Squares(frames=24), (CUT,)),
            injections=tuple(Injection.parse("dark", Modality.IR, f"every:0.{i}:0.05") for i in range(2, 9)),
        ),
    }


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("kind", ["live", "hostile", "14 classes", "flapping", "no masks", "many injections"])
def test_a_browser_shows_it_without_errors_spills_or_overlaps(tmp_path, kind, width):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium here to open the page in")
    text = _written(tmp_path, _all_kinds(tmp_path)[kind]())
    (tmp_path / "measured.html").write_text(text.replace("</body>", f"{_MEASURE}</body>"), encoding="utf-8")
    (tmp_path / "frame.html").write_text(_FRAME % width)
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr",
        "--hide-scrollbars",
        "--window-size=1400,1000",
        "--virtual-time-budget=3000",
        "--dump-dom",
        (tmp_path / "frame.html").as_uri(),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    assert "CONSOLE" not in done.stderr, done.stderr
    title = re.search(r"<title>(.*?)</title>", done.stdout)[1]
    assert title == f"[{width},{width},[]]"
