"""FMB (Liu et al., SegMiF, ICCV 2023): full-time multi-modality benchmark.

Files hold 0 for unlabelled and 1 to 14 for the classes. Public loaders differ in what they do with 0: some
leave it out of training and scores (the 14 classes that papers report; so does this one), some count it as a
fifteenth class. The layout is the one that those loaders read.
"""

from csk_ros.data.paired import Format, SplitFolders
from csk_ros.labels import FMB

FMB_LAYOUT = SplitFolders(
    Format(
        kind="fmb",
        title="FMB",
        tree="<train|test>/Visible/NAME.png\n<train|test>/Infrared/NAME.png\n<train|test>/Label/NAME.png",
        label_set=FMB,
        splits="train 1220, test 280",
        first_id=1,
    ),
    {"eo": "Visible", "ir": "Infrared", "labels": "Label"},
)
