"""Loaders in programs of Lightning, with the real one."""

from __future__ import annotations

import copy
import gc
import logging
import os

import numpy as np
import pytest
import torch

from ffcv.fields import NDArrayField
from ffcv.fields.decoders import NDArrayDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import ToTensor
from ffcv.writer import DatasetWriter

lightning = pytest.importorskip("lightning")

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
]

SAMPLES, BATCH = 24, 4


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("lightning") / "rows.beton"
    field = NDArrayField(np.dtype("f4"), (3,))
    rows = [(np.full(3, i, "f4"),) for i in range(SAMPLES)]
    DatasetWriter(path, {"x": field}, num_workers=0).from_indexed_dataset(rows)
    return path


class Model(lightning.LightningModule):
    """Receives a loader, and saves what it receives, as many programs do."""

    def __init__(self, loader, rate=0.001, left_out=()):
        super().__init__()
        self.save_hyperparameters(ignore=left_out)
        self.loader, self.seen = loader, []
        self.layer = torch.nn.Linear(3, 1)

    def train_dataloader(self):
        return self.loader

    def training_step(self, batch, number):
        (x,) = batch
        self.seen.append(x[:, 0].tolist())
        return self.layer(x).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.hparams.rate)


@pytest.fixture(autouse=True)
def quiet():
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(before)


def make_loader(path, os_cache=True):
    return Loader(path, BATCH, num_workers=2, order=OrderOption.RANDOM, seed=5, os_cache=os_cache)


@pytest.fixture
def reference(path, tmp_path):
    """What a model sees that saves no loader: the loader's epochs, though Lightning calls ``iter``
    once too often, and numbers each pass after it began."""
    with make_loader(path) as loader:
        model = Model(loader, left_out=("loader",))
        assert "loader" not in model.hparams
        train(model, tmp_path)
        loader.set_epoch(0)
        assert model.seen == [x[:, 0].tolist() for _ in range(2) for (x,) in loader]
    return model.seen


def train(model, folder, epochs=2):
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(model)


@pytest.mark.parametrize("os_cache", [True, False])
def test_saving_a_loader_as_a_hyperparameter_harms_nothing(path, tmp_path, os_cache, reference):
    loader = make_loader(path, os_cache)
    model = Model(loader)
    kept = model.hparams_initial["loader"]  # the copy that Lightning made
    assert kept is not loader
    assert sorted(value for (x,) in kept for value in x[:, 0].tolist()) == list(range(SAMPLES))

    mine = [(tmp_path / f"mine{i}").open("w+b") for i in range(8)]  # take the next free numbers
    numbers = {file.fileno() for file in mine}
    del kept
    model._hparams_initial = None
    gc.collect()
    for file in mine:
        os.fstat(file.fileno())
        file.write(b"still mine")
    assert len(numbers) == len(mine)

    train(model, tmp_path)
    assert model.seen == reference
    for file in mine:
        file.seek(0)
        assert file.read() == b"still mine"
        file.close()
    loader.close()


def test_a_copy_of_a_module_that_holds_a_loader_trains_by_itself(path, tmp_path, reference):
    """As an average of the weights does, which begins as a copy of the whole module."""
    model = Model(make_loader(path))
    other = copy.deepcopy(model)
    assert other.loader is not model.loader
    train(model, tmp_path)
    model.loader.close()
    del model
    gc.collect()
    train(other, tmp_path)
    assert other.seen == reference
    other.loader.close()


def test_draws_of_the_network_do_not_depend_on_the_loader(path, tmp_path):
    """What the network draws and what a step of the loader draws are sequences of their own."""

    class Drops(Model):
        def training_step(self, batch, number):
            self.seen.append((batch[0].clone(), torch.rand(2)))
            return self.layer(batch[0]).square().mean()

    def seen(workers):
        steps = [NDArrayDecoder(), ToTensor(), torch.nn.Dropout(0.5)]
        with Loader(path, BATCH, workers, seed=5, pipelines={"x": steps}) as loader:
            lightning.seed_everything(1, verbose=False)
            model = Drops(loader)
            train(model, tmp_path)
        return model.seen

    one, two = seen(1), seen(2)
    for (x, drawn), (y, also) in zip(one, two, strict=True):
        assert torch.equal(x, y)
        assert torch.equal(drawn, also)
