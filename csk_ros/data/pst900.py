"""PST900 (Shivakumar et al., ICRA 2020): tunnels, with four kinds of objects to find.

Folders and ids are those of the authors' repository (ShreyasSkandanS/pst900_thermal_rgb); ``thermal`` is the
camera's 8-bit output. ``thermal_raw`` (16 bit) and ``depth`` beside it are not read.
"""

from csk_ros.data.paired import Format, SplitFolders
from csk_ros.labels import PST900

PST900_LAYOUT = SplitFolders(
    Format(
        kind="pst900",
        title="PST900",
        tree="<train|test>/rgb/NAME.png\n<train|test>/thermal/NAME.png\n<train|test>/labels/NAME.png",
        label_set=PST900,
        splits="train, test, of 894 pairs in all",
    ),
    {"eo": "rgb", "ir": "thermal", "labels": "labels"},
)
