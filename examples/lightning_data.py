"""A data module for Lightning, and a training that uses it.

    pip install lightning
    python lightning_data.py [--accelerator gpu] [--epochs 3] [--folder FOLDER]

A loader can be returned from ``train_dataloader`` as it is. Imports and pipelines are those of
programs for FFCV 1.x; the pictures are synthetic (see two_colors.py).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from two_colors import CLASSES, MEAN, STD, TwoColors

from ffcv.fields import IntField, RGBImageField
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import CenterCropRGBImageDecoder, RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms.common import Squeeze
from ffcv.transforms.flip import RandomHorizontalFlip
from ffcv.transforms.normalize import NormalizeImage
from ffcv.transforms.ops import ToDevice, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter

try:
    import lightning
except ImportError:
    try:
        import pytorch_lightning as lightning
    except ImportError:
        raise SystemExit("This program needs Lightning: pip install lightning") from None


class BetonDataModule(lightning.LightningDataModule):
    """Writes two files of pictures once, and loads them onto the trainer's device.

    Args:
        folder: where the files go.
        samples: pictures to train on.
        size: side of the crops in pixels.
        batch_size: per device.
        num_workers: threads of each loader.
        seed: fixes the order and the crops.
    """

    def __init__(
        self,
        folder: Path,
        samples: int = 1000,
        size: int = 32,
        batch_size: int = 50,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.paths = {name: folder / f"lightning_{name}.beton" for name in ("train", "val")}
        self.samples, self.size = samples, size
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed

    def prepare_data(self) -> None:
        """Write the files; Lightning calls this in one process of each machine."""
        lengths = (self.samples, self.samples // 4)
        for seed, (path, length) in enumerate(zip(self.paths.values(), lengths, strict=True)):
            fields = {"image": RGBImageField(write_mode="jpg"), "label": IntField()}
            writer = DatasetWriter(str(path), fields, num_workers=self.num_workers)
            writer.from_indexed_dataset(TwoColors(length, 40, 64, seed))

    def train_dataloader(self) -> Loader:
        """Random crops in random order."""
        decoder = RandomResizedCropRGBImageDecoder((self.size, self.size), scale=(0.25, 1))
        loader = self._loader("train", [decoder, RandomHorizontalFlip()])
        # A training that is resumed goes on with the epoch that it had come to.
        loader.set_epoch(self.trainer.current_epoch)
        return loader

    def val_dataloader(self) -> Loader:
        """Centre crops in the file's order."""
        return self._loader("val", [CenterCropRGBImageDecoder((self.size, self.size), ratio=0.875)])

    def _loader(self, name: str, steps: list[object]) -> Loader:
        device = self.trainer.strategy.root_device
        is_training = name == "train"
        return Loader(
            str(self.paths[name]),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            order=OrderOption.RANDOM if is_training else OrderOption.SEQUENTIAL,
            drop_last=is_training,
            seed=self.seed,
            distributed=self.trainer.world_size > 1,
            pipelines={
                "image": [
                    *steps,
                    NormalizeImage(np.array(MEAN), np.array(STD), np.float32),
                    ToTensor(),
                    ToDevice(device, non_blocking=True),
                    ToTorchImage(),
                ],
                "label": [IntDecoder(), ToTensor(), ToDevice(device), Squeeze()],
            },
        )


class Classifier(lightning.LightningModule):
    """A small convolutional network for images ``(B, 3, H, W)``.

    Args:
        rate: the learning rate.
    """

    def __init__(self, rate: float = 0.01) -> None:
        super().__init__()
        self.rate = rate
        self.network = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, len(CLASSES)),
        )

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> torch.Tensor:
        """The loss of a batch."""
        images, labels = batch
        return nn.functional.cross_entropy(self.network(images), labels)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> None:
        """Count what is classified correctly."""
        images, labels = batch
        correct = (self.network(images).argmax(1) == labels).float().mean()
        self.log("accuracy", correct, batch_size=len(labels), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), self.rate)


def main() -> None:
    """Train, and say how well it went."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where files go; a temporary one by default")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--accelerator", default="cpu", help="cpu, gpu or auto")
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    with tempfile.TemporaryDirectory() as temporary:
        data = BetonDataModule(arguments.folder or Path(temporary), seed=arguments.seed)
        trainer = lightning.Trainer(
            accelerator=arguments.accelerator,
            devices=1,
            max_epochs=arguments.epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Classifier(), datamodule=data)
        print(f"accuracy {trainer.callback_metrics['accuracy'].item():.4f}")


if __name__ == "__main__":
    main()
