"""The CSK-Net and its baselines as torch modules, and the checkpoint format."""
