#!/usr/bin/env bash
# Lightning asks a training loader for one iterator more than there are epochs, before the first.
#
# With:     lightning 2.6.6, torch 2.13.0
# Expected: one call of iter() for each epoch.
# Seen:     the first call only tests whether iter() works; nothing is taken from what it gives. So a loader
#           that counts its passes is one further in each epoch, and starts its workers once for nothing.
# Here:     a pass that is dropped before anybody asks for a batch does not count (docs/making_loaders.md, "Seeds and
#           epochs"); tests/end_to_end/test_lightning.py asks the pinned version.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install lightning==2.6.6 torch==2.13.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import logging
import warnings

import lightning
import torch

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Loader:
    def __init__(self):
        self.passes, self.batches = 0, []

    def __len__(self):
        return 3

    def __iter__(self):
        self.passes += 1
        return self.batches_of(self.passes)

    def batches_of(self, number):
        for _ in range(3):
            self.batches.append(number)
            yield torch.ones(2, 4)


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, number):
        return self.layer(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


loader = Loader()
trainer = lightning.Trainer(
    max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
    enable_progress_bar=False, enable_model_summary=False,
)
trainer.fit(Model(), loader)
print(f"lightning {lightning.__version__}: 2 epochs, {loader.passes} iterators; batches came from "
      f"those of number {sorted(set(loader.batches))}")
assert loader.passes == 3
assert sorted(set(loader.batches)) == [2, 3]
PYTHON
