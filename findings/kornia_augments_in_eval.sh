#!/usr/bin/env bash
# Augmentations of kornia are nn.Modules for which eval() changes nothing; its RandomBrightness adds, and clips to 1
# whatever unit the image has.
#
# With:     kornia 0.9.0, torch 2.14.1
# Expected: model.eval() ends augmentation, as it ends dropout; a brightness of 1.5 makes 0.6 of 0.4, as in
#           torchvision; an image of 0 to 255 becomes brighter, or is refused as one of uint8 is.
# Seen:     RandomErasing, ColorJitter and an AugmentationSequential go on in eval mode. RandomBrightness makes 0.9
#           of 0.4, and 1.0 of 100.0. An image (C, H, W) comes back as a batch of one.
# Here:     torch modules run in pipelines as they are given: leave augmentations out of the loader that
#           validates, and put NormalizeImage, or a division by 255, before those of kornia.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install kornia==0.9.0 torch==2.14.1
cd "$folder"
venv/bin/python - <<'PYTHON'
import kornia
import kornia.augmentation as augmentation
import torch

torch.manual_seed(0)
images = torch.rand(2, 3, 8, 8)
for module in (
    augmentation.RandomErasing(p=1.0),
    augmentation.ColorJitter(0.5, 0.5, 0.5, 0.1, p=1.0),
    augmentation.AugmentationSequential(augmentation.RandomHorizontalFlip(p=1.0)),
):
    module.eval()
    same = torch.equal(module(images), images)
    print(f"kornia {kornia.__version__}, {type(module).__name__} in eval mode: unchanged is {same}")
    assert not same

brighter = augmentation.RandomBrightness((1.5, 1.5), p=1.0)
print(f"0.4 becomes {brighter(torch.full((1, 3, 1, 1), 0.4)).max():.1f}, "
      f"100.0 becomes {brighter(torch.full((1, 3, 1, 1), 100.0)).max():.1f}")
assert abs(float(brighter(torch.full((1, 3, 1, 1), 0.4)).max()) - 0.9) < 1e-6
assert float(brighter(torch.full((1, 3, 1, 1), 100.0)).max()) == 1.0
try:
    brighter(torch.full((1, 3, 1, 1), 100, dtype=torch.uint8))
except TypeError as error:
    print(f"uint8: {error}")
else:
    raise SystemExit("bytes were taken")

one = augmentation.RandomHorizontalFlip(p=1.0)(images[0])
print(f"{tuple(images[0].shape)} becomes {tuple(one.shape)}")
assert one.shape == (1, 3, 8, 8)
PYTHON
