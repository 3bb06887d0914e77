"""Real-time video segmentation."""
