"""Training programs that save where they are, and go on from there if something was saved.

    python resumed.py FRAMEWORK FILE FOLDER [--kill-at STEP] [--epochs 3] [--pause SECONDS]

Each step adds a line with its number and its batch to ``FOLDER/log``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import time
import warnings
from pathlib import Path

import numpy as np

from ffcv.fields.decoders import IntDecoder
from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader
from ffcv.transforms import RandomHorizontalFlip, ToTensor

EPOCHS, PAUSE, KILL_AT, FOLDER = 3, 0.0, -1, Path()


def make_loader(path: str, *last) -> Loader:
    image = [RandomResizedCropRGBImageDecoder((8, 8)), RandomHorizontalFlip(), *last]
    pipelines = {"image": image, "array": None, "label": [IntDecoder(), *last]}
    return Loader(path, 16, num_workers=2, order="random", seed=5, pipelines=pipelines)


def train_on(step: int, batch) -> None:
    """A step of training: notes the batch, and may be the last thing that the process does."""
    time.sleep(PAUSE)
    content = [np.ascontiguousarray(part).tobytes() for part in batch]
    line = f"{step} {hashlib.sha256(b''.join(content)).hexdigest()}\n"
    number = os.open(FOLDER / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(number, line.encode())
    os.close(number)
    if step == KILL_AT:
        os.kill(os.getpid(), signal.SIGKILL)


def plain(path: str) -> None:
    """A loop that saves after each step."""
    saved, loader = FOLDER / "state", make_loader(path)
    if saved.exists():
        loader.load_state_dict(json.loads(saved.read_text()))
    for epoch in range(loader.next_epoch, EPOCHS):
        loader.set_epoch(epoch)
        for batch in loader:
            train_on(loader.state_dict()["step"] - 1, batch)
            (FOLDER / "new").write_text(json.dumps(loader.state_dict()))
            (FOLDER / "new").replace(saved)


def lightning(path: str) -> None:
    """Lightning saves and loads the loader's state itself."""
    import logging

    import lightning
    import torch
    from lightning.pytorch.callbacks import ModelCheckpoint

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")

    class Model(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch, number):
            train_on(self.global_step, batch)
            return self.layer(batch[1].float()).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.0)

    often = ModelCheckpoint(FOLDER, save_last=True, every_n_train_steps=2, save_top_k=0)
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, callbacks=[often],
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    last = FOLDER / "last.ckpt"
    model, loader = Model(), make_loader(path, ToTensor())
    trainer.fit(model, loader, ckpt_path=str(last) if last.exists() else None)


def accelerate(path: str) -> None:
    """Accelerate saves and loads what is registered with it."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    loader = accelerator.prepare(make_loader(path, ToTensor()))
    accelerator.register_for_checkpointing(loader)
    done = sorted(FOLDER.glob("saved*/whole"))
    if done:
        accelerator.load_state(str(done[-1].parent))
    for epoch in range(loader.next_epoch, EPOCHS):
        loader.set_epoch(epoch)
        for batch in loader:
            step = loader.state_dict()["step"]
            train_on(step - 1, batch)
            if step % 2 == 0:
                accelerator.save_state(str(FOLDER / f"saved{step:03}"))
                (FOLDER / f"saved{step:03}" / "whole").touch()


def torchdata(path: str) -> None:
    """A node of torchdata has the state of the loader that it wraps."""
    import torch
    from torchdata.nodes import IterableWrapper
    from torchdata.nodes import Loader as Nodes

    loader, saved = make_loader(path, ToTensor()), FOLDER / "state.pt"
    nodes = Nodes(IterableWrapper(loader), restart_on_stop_iteration=True)
    if saved.exists():
        nodes.load_state_dict(torch.load(saved))
    while loader.state_dict()["epoch"] < EPOCHS:
        for batch in nodes:
            step = loader.state_dict()["step"]
            train_on(step - 1, batch)
            if step % 2 == 0:
                torch.save(nodes.state_dict(), FOLDER / "new")
                (FOLDER / "new").replace(saved)


def main() -> None:
    global EPOCHS, PAUSE, KILL_AT, FOLDER
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("framework", choices=["plain", "lightning", "accelerate", "torchdata"])
    parser.add_argument("file")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kill-at", type=int, default=-1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0.0)
    given = parser.parse_args()
    EPOCHS, PAUSE, KILL_AT, FOLDER = given.epochs, given.pause, given.kill_at, given.folder
    FOLDER.mkdir(exist_ok=True)
    globals()[given.framework](given.file)


if __name__ == "__main__":
    main()
