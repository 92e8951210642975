"""Train on photographs of many sizes with progressive resizing, on one device or on several.

    python imagenet.py [--device cuda] [--epochs 6] [--folder FOLDER]
    torchrun --standalone --nproc-per-node 2 imagenet.py

Training begins with small, cheap crops and ends with large ones. Under ``torchrun`` each process
trains on its share of every epoch (with NCCL on GPUs, with gloo on CPUs). Without ``--train`` and
``--val`` it makes small synthetic data (see two_colors.py); files that programs for FFCV 1.x
wrote, with an image and a label in each sample, will do as well.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from two_colors import CLASSES, MEAN, STD, TwoColors

from ffcv.fields import IntField, RGBImageField
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import CenterCropRGBImageDecoder, RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.reader import Reader
from ffcv.transforms import (
    NormalizeImage,
    RandomHorizontalFlip,
    Squeeze,
    ToDevice,
    ToTensor,
    ToTorchImage,
)
from ffcv.writer import DatasetWriter

CROP_RATIO = 224 / 256


def parse_arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--train", type=Path, help="file to train on; synthetic by default")
    add("--val", type=Path, help="file to evaluate on; synthetic by default")
    add("--folder", type=Path, help="where files and logs go; a temporary one by default")
    add("--samples", type=int, default=1500, help="synthetic pictures to train on")
    add("--classes", type=int, default=len(CLASSES))
    add("--epochs", type=int, default=6)
    add("--batch-size", type=int, default=32, help="per process")
    add("--learning-rate", type=float, default=0.1, help="for 64 samples a step, at its peak")
    add("--smallest", type=int, default=32, help="side of the first crops")
    add("--largest", type=int, default=64, help="side of the last crops, and of those evaluated")
    add("--in-memory", type=int, default=1, help="0: the file is larger than memory")
    add("--num-workers", type=int, default=2)
    add("--seed", type=int, default=0)
    add("--device", default="cpu", help="cpu, or cuda for one GPU in each process")
    return parser.parse_args()


class Trainer:
    """Everything that one process needs to train.

    Args:
        arguments: of the command line.
        paths: the files ``train`` and ``val``.
        device: of this process.
    """

    def __init__(
        self, arguments: argparse.Namespace, paths: dict[str, Path], device: torch.device
    ) -> None:
        self.arguments, self.device = arguments, device
        self.rank, self.ranks = place()
        self.dtype = np.float16 if device.type == "cuda" else np.float32
        self.train_loader = self.make_train_loader(paths["train"])
        self.val_loader = self.make_val_loader(paths["val"])
        torch.manual_seed(arguments.seed)
        network = make_network(arguments.classes).to(device, memory_format=torch.channels_last)
        self.network = DistributedDataParallel(network) if self.ranks > 1 else network
        self.peak = arguments.learning_rate * arguments.batch_size * self.ranks / 64
        self.optimizer = torch.optim.SGD(
            network.parameters(), self.peak, momentum=0.9, weight_decay=5e-4, nesterov=True
        )
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
        self.scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")

    def image_pipeline(self, *steps: object) -> list[object]:
        """``steps``, and what makes normalised tensors of the images on the device."""
        return [
            *steps,
            ToTensor(),
            ToDevice(self.device, non_blocking=True),
            ToTorchImage(),
            NormalizeImage(np.array(MEAN), np.array(STD), self.dtype),
        ]

    def label_pipeline(self) -> list[object]:
        """Labels ``(B,)`` on the device."""
        return [IntDecoder(), ToTensor(), Squeeze(), ToDevice(self.device, non_blocking=True)]

    def make_train_loader(self, path: Path) -> Loader:
        """Random crops in random order; each process gets its share."""
        self.decoder = RandomResizedCropRGBImageDecoder((self.resolution(0), self.resolution(0)))
        in_memory = bool(self.arguments.in_memory)
        return Loader(
            str(path),
            batch_size=self.arguments.batch_size,
            num_workers=self.arguments.num_workers,
            order=OrderOption.RANDOM if in_memory else OrderOption.QUASI_RANDOM,
            os_cache=in_memory,
            drop_last=True,
            seed=self.arguments.seed,
            distributed=self.ranks > 1,
            pipelines={
                "image": self.image_pipeline(self.decoder, RandomHorizontalFlip()),
                "label": self.label_pipeline(),
            },
        )

    def make_val_loader(self, path: Path) -> Loader:
        """Centre crops of all images.

        With ``distributed=True`` all shares would have one length and some images would be counted
        twice; ``indices`` give each process every ``ranks``-th image, exactly once.
        """
        side = self.arguments.largest
        with Reader(str(path)) as reader:
            indices = np.arange(self.rank, reader.num_samples, self.ranks)
        decoder = CenterCropRGBImageDecoder((side, side), ratio=CROP_RATIO)
        return Loader(
            str(path),
            batch_size=self.arguments.batch_size,
            num_workers=self.arguments.num_workers,
            order=OrderOption.SEQUENTIAL,
            indices=indices,
            drop_last=False,
            pipelines={
                "image": self.image_pipeline(decoder),
                "label": self.label_pipeline(),
            },
        )

    def resolution(self, epoch: int) -> int:
        """Side of the crops, a multiple of 8 that grows until the second to last epoch."""
        smallest, largest = self.arguments.smallest, self.arguments.largest
        progress = min(epoch / max(self.arguments.epochs - 2, 1), 1.0)
        return round((smallest + progress * (largest - smallest)) / 8) * 8

    def rate(self, progress: float) -> float:
        """The learning rate, up for the first quarter of the training and then down to 0."""
        return self.peak * float(np.interp(progress, [0, 0.25, 1], [0.1, 1, 0]))

    def autocast(self) -> torch.autocast:
        """Mixed precision where the device has fast float16 arithmetic."""
        return torch.autocast(self.device.type, torch.float16, enabled=self.device.type == "cuda")

    def train_epoch(self, epoch: int) -> tuple[float, int]:
        """Train on every batch once.

        Returns:
            The mean loss of this process, and how many samples it saw.
        """
        side = self.resolution(epoch)
        self.decoder.output_size = (side, side)
        self.network.train()
        total, samples = torch.zeros((), device=self.device), 0
        for step, (images, labels) in enumerate(self.train_loader):
            assert images.shape[2:] == (side, side)
            progress = (epoch + step / len(self.train_loader)) / self.arguments.epochs
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate(progress)
            self.optimizer.zero_grad(set_to_none=True)
            with self.autocast():
                loss = self.criterion(self.network(images), labels)
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            total += loss.detach()
            samples += len(labels)
        return total.item() / len(self.train_loader), samples

    @torch.no_grad()
    def evaluate(self) -> tuple[int, int]:
        """How many images are classified correctly, and how many there are, over all processes."""
        self.network.eval()
        # Shares may differ by one batch, and DistributedDataParallel would wait for the others.
        network = self.network.module if self.ranks > 1 else self.network
        counts = torch.zeros(2, dtype=torch.int64, device=self.device)
        for images, labels in self.val_loader:
            with self.autocast():
                logits = network(images) + network(images.flip(3))
            counts[0] += (logits.argmax(1) == labels).sum()
            counts[1] += len(labels)
        if self.ranks > 1:
            dist.all_reduce(counts)
        correct, count = counts.tolist()
        return correct, count

    def run(self, log: Path | None) -> None:
        """Train and evaluate; rank 0 prints, and each process writes a line per epoch."""
        for epoch in range(self.arguments.epochs):
            loss, samples = self.train_epoch(epoch)
            correct, count = self.evaluate()
            norm = sum(float(p.detach().double().square().sum()) for p in self.network.parameters())
            entry = {
                "rank": self.rank,
                "epoch": epoch,
                "resolution": self.resolution(epoch),
                "samples": samples,
                "loss": loss,
                "weights": norm,
                "accuracy": correct / count,
                "evaluated": count,
            }
            if log is not None:
                with log.open("a") as file:
                    file.write(json.dumps(entry) + "\n")
            if self.rank == 0:
                print(
                    f"epoch {epoch}: crops of {entry['resolution']}, loss {loss:.4f}, "
                    f"accuracy {correct / count:.4f} of {count}",
                    flush=True,
                )


def make_network(classes: int) -> nn.Module:
    """A small network for images ``(B, 3, H, W)`` of any size from 16 on."""
    layers: list[nn.Module] = []
    channels = 3
    for width in (16, 32, 64):
        layers += [
            nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        channels = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
    )


def place() -> tuple[int, int]:
    """Rank of this process, and how many there are."""
    if not dist.is_initialized():
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the other processes if ``torchrun`` started this one."""
    if "RANK" not in os.environ:
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def shared_folder(folder: Path | None) -> Iterator[Path]:
    """``folder``, or a temporary one of rank 0 that all processes of this machine use."""
    if folder is not None:
        yield folder
        return
    _, ranks = place()
    with tempfile.TemporaryDirectory() as temporary:
        names = [temporary]
        if ranks > 1:
            dist.broadcast_object_list(names, src=0)
        yield Path(names[0])
        if ranks > 1:
            dist.barrier()


def prepare(arguments: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """The files to train and evaluate on; rank 0 writes those that are synthetic."""
    paths = {}
    for seed, (name, length) in enumerate((("train", arguments.samples), ("val", 251))):
        given = getattr(arguments, name)
        paths[name] = given or folder / f"imagenet_{name}.beton"
        if given is None and place()[0] == 0:
            fields = {
                "image": RGBImageField(write_mode="jpg", max_resolution=128, jpeg_quality=90),
                "label": IntField(),
            }
            writer = DatasetWriter(str(paths[name]), fields, num_workers=arguments.num_workers)
            writer.from_indexed_dataset(TwoColors(length, 80, 140, seed))
    if place()[1] > 1:
        dist.barrier()
    return paths


def main() -> None:
    """Train in this process, which may be one of several."""
    arguments = parse_arguments()
    device = torch.device(arguments.device)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    with process_group(device), shared_folder(arguments.folder) as folder:
        paths = prepare(arguments, folder)
        log = arguments.folder and folder / f"log_{place()[0]}.jsonl"
        Trainer(arguments, paths, device).run(log)


if __name__ == "__main__":
    main()
