"""Training: recipes, data, networks, and the export to ONNX. The only package that imports torch; `rtseg[train]`."""
