"""Effects turn what was segmented into layers, bottom first; the compositor alone touches the frame's pixels.

Layers are made at the mask's own resolution, so an effect costs microseconds. A new effect is a callable
`(frame, segmentation, observations) -> Sequence[Layer]`.
"""
