"""One module per family of networks: a frame to its input tensor, the engine, its outputs to a segmentation."""
