"""From camera images to label maps: preprocessing, engines, Segmenter."""
