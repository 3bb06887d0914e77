"""What improves a segmentation before anything is drawn with it."""
