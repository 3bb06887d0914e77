"""The loop that RobustVideoMatting describes, around a network of our own with the same inputs and outputs.

The original is under GPL, so none of it is here: the network takes src, r1..r4 and downsample_ratio and gives fgr,
pha, r1..r4, with random weights. What is compared is the work around it: pictures to float tensors, the composite
fgr * pha + background * (1 - pha) in floats, and back to bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.job import Job
from benchmarks.split import SplitMeter, main
from benchmarks.video import planes_of, read_frames, read_picture, save_still

_CHANNELS = (16, 24, 40, 64)
_RATIO = 0.375  # what its README gives for 1280x720


class _Down(nn.Sequential):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(
            nn.Conv2d(inside, 4 * inside, 1),
            nn.Hardswish(),
            nn.Conv2d(4 * inside, 4 * inside, 3, stride=2, padding=1, groups=4 * inside),
            nn.Hardswish(),
            nn.Conv2d(4 * inside, outside, 1),
        )


class _Memory(nn.Module):
    """A convolutional gated recurrent unit on half of the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.width = channels // 2
        self.gates = nn.Conv2d(2 * self.width, 2 * self.width, 3, padding=1)
        self.new = nn.Conv2d(2 * self.width, self.width, 3, padding=1)

    def forward(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        rest, mine = x.tensor_split(2, dim=1)
        past = torch.zeros_like(mine) if past is None else past
        reset, update = self.gates(torch.cat([mine, past], 1)).sigmoid().tensor_split(2, dim=1)
        now = (1 - update) * past + update * self.new(torch.cat([mine, reset * past], 1)).tanh()
        return torch.cat([rest, now], 1), now


class Matting(nn.Module):
    """Encoder at a fraction of the size, memory at four scales, and a full-size head that adds the source's detail."""

    def __init__(self) -> None:
        super().__init__()
        steps = list(zip((3, *_CHANNELS), _CHANNELS, strict=False))
        self.down = nn.ModuleList(_Down(inside, outside) for inside, outside in steps)
        self.memory = nn.ModuleList(_Memory(channels) for channels in _CHANNELS)
        self.up = nn.ModuleList(nn.Conv2d(outside, inside, 3, padding=1) for inside, outside in steps[1:])
        self.small = nn.Conv2d(_CHANNELS[0], 16, 3, padding=1)
        self.large = nn.Sequential(nn.Conv2d(19, 16, 1), nn.ReLU(), nn.Conv2d(16, 4, 1))

    def forward(self, src: Tensor, past: Sequence[Tensor | None], ratio: float) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Foreground and alpha of src 1x3xHxW, and the four states for the next frame."""
        x = functional.interpolate(src, scale_factor=ratio, mode="bilinear", align_corners=False)
        features = []
        for down in self.down:
            x = down(x)
            features.append(x)
        now: list[Tensor] = []
        for level in (3, 2, 1, 0):
            x, kept = self.memory[level](x, past[level])
            now.insert(0, kept)
            if level:
                up = functional.interpolate(x, size=features[level - 1].shape[2:], mode="bilinear")
                x = functional.relu(self.up[level - 1](up) + features[level - 1])
        hidden = functional.interpolate(self.small(x), size=src.shape[2:], mode="bilinear")
        made = self.large(torch.cat([hidden, src], 1))
        residual, pha = made[:, :3], made[:, 3:]
        return (src + 0.01 * residual).clamp(0, 1), pha.clamp(0, 1), now


def _spread(model: Matting, src: Tensor) -> None:
    """Scale the last layer so that alpha goes from 0 to 1 and is mostly one of both."""
    last = model.large[2]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    seen: list[Tensor] = []
    hook = last.register_forward_hook(lambda _module, _inputs, output: seen.append(output[:, 3]))
    model(src, [None] * 4, _RATIO)
    hook.remove()
    gain = 2 / seen[0].std()
    last.weight[3] *= gain
    last.bias[3] = (last.bias[3] - seen[0].mean()) * gain + 0.5


def run(job: Job, meter: SplitMeter) -> None:
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    if job.threads:
        torch.set_num_threads(job.threads)
    model = Matting().eval()
    background = _tensor(cv2.cvtColor(read_picture(job.background, job.width, job.height), cv2.COLOR_BGR2RGB))
    meter.versions |= {"torch": torch.__version__}
    past: Sequence[Tensor | None] = [None] * 4
    network = meter.timed(model)
    for index, frame in read_frames(job):
        with meter.frame(counted=index >= 0):
            with meter.part("unpack"):
                image = frame.to_ndarray(format="rgb24")
            with meter.part("tensor"):
                src = _tensor(image)
            if index == -2:
                _spread(model, src)
            fgr, pha, past = network(src, past, _RATIO)
            with meter.part("composite"):
                mixed = fgr * pha + background * (1 - pha)
            with meter.part("write"):
                picture = mixed.mul(255).byte().permute(0, 2, 3, 1).contiguous().numpy()[0]
            with meter.part("pack"):
                planes_of(picture, "rgb24")
        save_still(job, index, picture[..., ::-1])


def _tensor(image: object) -> Tensor:
    """RGB uint8 HxWx3 to float 1x3xHxW, 0..1, as torchvision's ToTensor."""
    return torch.from_numpy(image).permute(2, 0, 1).contiguous().float().div(255)[None]


if __name__ == "__main__":
    main(run)
