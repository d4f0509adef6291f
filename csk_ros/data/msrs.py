"""MSRS (Tang et al., PIAFusion, Information Fusion 2022): MFNet's aligned pairs with enhanced thermal images.

The layout is the one of the authors' repository (Linfeng-Tang/MSRS); ids are MFNet's, and 0 is a class
here as there. Names end in D (day) or N (night).
"""

from csk_ros.data.paired import Format, SplitFolders
from csk_ros.labels import MFNET

MSRS_LAYOUT = SplitFolders(
    Format(
        kind="msrs",
        title="MSRS",
        tree="<train|test>/vi/NAME.png\n<train|test>/ir/NAME.png\n<train|test>/Segmentation_labels/NAME.png",
        label_set=MFNET,
        splits="train 1083, test 361",
    ),
    {"eo": "vi", "ir": "ir", "labels": "Segmentation_labels"},
)
