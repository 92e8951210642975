"""Held-out accuracy of one small network, trained with images in each of the decoders' modes.

    python accuracy.py [--seeds 3] [--epochs 8]

The network, data and schedule are those of ``examples/train_photographs.py``. Both modes see the
same crops in the same order; evaluation is exact in both, as it would be after training elsewhere.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import torch
from _data import DATA
from photographs import SMALL_HELD_OUT, SMALL_TRAIN, write_photographs
from train_photographs import MEAN, SIZE, STD, Photographs, accuracy, make_network, train_epoch

from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import IntDecoder
from ffcv.fields.rgb_image import CenterCropRGBImageDecoder, RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, Squeeze, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter

MODES = ("exact", "fast")
PER_CLASS = {"train": 100, "held_out": 30}


def dataset(name: str) -> str:
    """The file of one part of the data, made at first use."""
    path = DATA / f"accuracy_{name}.beton"
    if not path.exists():
        folder = DATA / f"accuracy_{name}"
        kind = SMALL_TRAIN if name == "train" else SMALL_HELD_OUT
        write_photographs(folder, PER_CLASS[name], kind)
        fields = {"image": RGBImageField("keep"), "label": IntField()}
        DatasetWriter(str(path), fields, num_workers=0).from_indexed_dataset(Photographs(folder))
    return str(path)


def loader(name: str, mode: str, seed: int) -> Loader:
    """Random crops for training, centre crops to measure."""
    if name == "train":
        decoder = RandomResizedCropRGBImageDecoder((SIZE, SIZE), scale=(0.25, 1.0), mode=mode)
        steps = [decoder, RandomHorizontalFlip()]
    else:
        steps = [CenterCropRGBImageDecoder((SIZE, SIZE), ratio=0.9, mode=mode)]
    normalize = NormalizeImage(MEAN, STD, np.float32)
    return Loader(
        dataset(name),
        batch_size=50,
        num_workers=2,
        order=OrderOption.RANDOM if name == "train" else OrderOption.SEQUENTIAL,
        seed=seed,
        drop_last=name == "train",
        pipelines={
            "image": [*steps, normalize, ToTensor(), ToTorchImage()],
            "label": [IntDecoder(), ToTensor(), Squeeze(1)],
        },
    )


def trained(mode: str, seed: int, epochs: int) -> float:
    """Accuracy after training in one mode."""
    torch.manual_seed(seed)
    network = make_network()
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=5e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda epoch: min(1.0, (epoch + 1) / 4) * (1 - epoch / epochs)
    )
    data = loader("train", mode, seed)
    for _ in range(epochs):
        train_epoch(network, data, optimizer)
        schedule.step()
    return accuracy(network, loader("held_out", "exact", seed))


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    for mode in MODES:
        shares = [trained(mode, seed, arguments.epochs) for seed in range(arguments.seeds)]
        each = ", ".join(f"{share:.1%}" for share in shares)
        print(f"{mode:6} {statistics.mean(shares):.1%}   ({each})", flush=True)


if __name__ == "__main__":
    main()
