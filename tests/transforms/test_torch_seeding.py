"""What torch draws from a key: every function that draws, and nothing of the process's own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap
import threading

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - as everybody calls it

from ffcv.errors import PipelineError
from ffcv_plugins.torch import seeding
from ffcv_plugins.torch.seeding import SeededDraws

ONES, HALVES, VOLUME = torch.ones(8, 8), torch.full((8, 8), 0.5), torch.ones(2, 40, 8)
DRAWN_IN_PLACE = ("uniform_", "normal_", "exponential_", "cauchy_", "log_normal_", "random_")


class Drops(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(x) + torch.rand_like(x) + torch.rand([8])


@torch.library.custom_op("ffcv_tests::noise", mutates_args=())
def add_noise(x: torch.Tensor) -> torch.Tensor:
    return x + torch.rand_like(x)


@torch.library.custom_op("ffcv_tests::make", mutates_args=())
def make_noise(n: int) -> torch.Tensor:
    return torch.rand(n)


@torch.library.custom_op("ffcv_tests::fill", mutates_args=("x",))
def fill_with_noise(x: torch.Tensor) -> None:
    x.uniform_()


library = torch.library.Library("ffcv_tests_too", "DEF")
library.define("parts(Tensor x) -> Tensor")
library.impl("parts", lambda x: x + torch.rand_like(x), "CompositeImplicitAutograd")
library.define("kernel(Tensor[] x) -> Tensor")
library.impl("kernel", lambda x: x[0] + torch.rand_like(x[0]), "CPU")


def filled():
    new = torch.zeros(9)
    fill_with_noise(new)
    return new


class DrawsForward(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x + torch.rand_like(x)

    @staticmethod
    def backward(context, gradient):
        return gradient


DRAWS = {
    "added to torch": lambda: add_noise(ONES),
    "added to torch, without tensors": lambda: make_noise(9),
    "added to torch, in place": filled,
    "added to torch, of parts": lambda: torch.ops.ffcv_tests_too.parts(ONES),
    "added to torch, a kernel": lambda: torch.ops.ffcv_tests_too.kernel([ONES]),
    "with a gradient of its own": lambda: DrawsForward.apply(ONES),
    "rand": lambda: torch.rand(9),
    "rand, no generator": lambda: torch.rand(9, generator=None),
    "rand, torch's own": lambda: torch.rand(9, generator=torch.default_generator),
    "rand, out": lambda: torch.rand(9, out=torch.empty(9)),
    "randn": lambda: torch.randn(9),
    "randn, complex": lambda: torch.randn(9, dtype=torch.complex64),
    "randint": lambda: torch.randint(1000, (9,)),
    "randint, low": lambda: torch.randint(10, 1000, (9,)),
    "randperm": lambda: torch.randperm(99),
    "rand_like": lambda: torch.rand_like(ONES),
    "randn_like": lambda: torch.randn_like(ONES),
    "randint_like": lambda: torch.randint_like(ONES, 1000),
    "randint_like, low": lambda: torch.randint_like(ONES, 10, 1000),
    "normal": lambda: torch.normal(0.0, 1.0, (9,)),
    "normal, means": lambda: torch.normal(ONES, 1.0),
    "normal, deviations": lambda: torch.normal(0.0, ONES),
    "normal, both": lambda: torch.normal(ONES, ONES),
    "bernoulli": lambda: torch.bernoulli(HALVES),
    "bernoulli_": lambda: ONES.clone().bernoulli_(HALVES),
    "multinomial": lambda: torch.multinomial(ONES, 4),
    "poisson": lambda: torch.poisson(9 * ONES),
    "binomial": lambda: torch.binomial(99 * ONES, HALVES),
    "gamma": lambda: torch.distributions.Gamma(HALVES, HALVES).sample(),
    "beta": lambda: torch.distributions.Beta(HALVES, HALVES).sample(),
    "in place": lambda: torch.stack([getattr(ONES.clone(), name)() for name in DRAWN_IN_PLACE]),
    "geometric_": lambda: ONES.clone().geometric_(0.1),
    "random_, bounds": lambda: ONES.clone().random_(5, 5000),
    "dropout": lambda: F.dropout(ONES),
    "dropout, in place": lambda: F.dropout(ONES.clone(), inplace=True),
    "dropout, bfloat16": lambda: F.dropout(ONES.bfloat16()),
    "dropout with its mask": lambda: torch.native_dropout(ONES, 0.5, True)[0],
    "dropout of channels": lambda: F.dropout2d(VOLUME[..., None], training=True),
    "alpha dropout": lambda: F.alpha_dropout(ONES, training=True),
    "alpha dropout of channels": lambda: F.feature_alpha_dropout(VOLUME, training=True),
    "rrelu": lambda: F.rrelu(-ONES, training=True),
    "gumbel softmax": lambda: F.gumbel_softmax(ONES),
    "attention": lambda: F.scaled_dot_product_attention(
        VOLUME, VOLUME, VOLUME + torch.arange(8), dropout_p=0.5
    ),
    "recurrent": lambda: torch.nn.LSTM(8, 8, 2, dropout=0.5)(VOLUME)[0],
    "fractional pooling": lambda: torch.nn.FractionalMaxPool2d(2, output_size=4)(
        torch.arange(4096.0).reshape(1, 1, 64, 64)
    ),
    "weights": lambda: torch.nn.Linear(3, 3).weight,
    "truncated normal": lambda: torch.nn.init.trunc_normal_(torch.empty(9)),
    "for each sample": lambda: torch.func.vmap(
        lambda x: x + torch.rand(()), randomness="different"
    )(ONES),
    "condition": lambda: torch.cond(
        torch.tensor(True), lambda x: x + torch.rand(8), lambda x: x * 2, (ONES,)
    ),
}

MODES = [contextlib.nullcontext, torch.no_grad, torch.inference_mode]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", DRAWS)
def test_draws_follow_from_the_key_alone(name, mode):
    found = []
    for key in (7, 7, 8):
        torch.rand(3)
        before = torch.get_rng_state()
        with mode(), SeededDraws(key):
            found.append(DRAWS[name]())
        assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_scripted_modules_draw_from_the_key():
    scripted = torch.jit.script(Drops())
    before, found = torch.get_rng_state(), []
    for _ in range(4):  # the first calls are interpreted, later ones optimised
        with torch.no_grad(), SeededDraws(3):
            found.append(scripted(ONES))
    assert all(torch.equal(found[0], other) for other in found)
    assert torch.equal(before, torch.get_rng_state())


def test_modules_compiled_with_torch_draw_from_the_key():
    compiled = torch.compile(Drops(), backend="aot_eager")
    with torch.no_grad(), SeededDraws(3):
        compiled(ONES)
    before, found = torch.get_rng_state(), []
    for key in (3, 3, 4):
        with torch.no_grad(), SeededDraws(key):
            found.append(compiled(ONES))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(before, torch.get_rng_state())


def test_draws_come_one_after_the_other():
    with SeededDraws(1):
        first, second = torch.rand(4), torch.rand(4)
    with SeededDraws(1):
        both = torch.cat([torch.rand(4), torch.rand(4)])
    assert not torch.equal(first, second)
    assert torch.equal(both, torch.cat([first, second]))


def test_a_generator_that_a_step_brings_is_used():
    mine = torch.Generator().manual_seed(5)
    with SeededDraws(1):
        found = torch.rand(4, generator=mine), torch.bernoulli(HALVES, generator=mine)
    mine.manual_seed(5)
    assert torch.equal(found[0], torch.rand(4, generator=mine))
    assert torch.equal(found[1], torch.bernoulli(HALVES, generator=mine))


def test_dropout_has_the_mean_and_the_zeros_of_torchs():
    values = torch.full((200, 200), 3.0)
    with SeededDraws(2):
        found, kept = torch.native_dropout(values, 0.25, True)
        untouched, all_kept = torch.native_dropout(values, 0.25, False)
        nothing, none_kept = torch.native_dropout(values, 1.0, True)
    assert kept.dtype == torch.bool
    assert torch.equal(found, torch.where(kept, torch.tensor(4.0), 0.0))
    assert abs(float(kept.float().mean()) - 0.75) < 0.01
    assert torch.equal(untouched, values)
    assert all_kept.all()
    assert not nothing.any()
    assert not none_kept.any()


def test_gradients_go_through():
    values = torch.ones(64, requires_grad=True)
    with SeededDraws(4):
        F.dropout(values).sum().backward()
    with SeededDraws(4):
        kept = F.dropout(torch.ones(64))
    assert torch.equal(values.grad, kept)


def test_tensors_without_values_draw_nothing():
    with SeededDraws(1):
        assert torch.rand(3, device="meta").shape == (3,)


def test_other_threads_and_torchs_own_variables_are_left_alone():
    from torch.utils import _python_dispatch

    inside, after = threading.Event(), threading.Event()

    def work():
        with SeededDraws(1):
            inside.set()
            after.wait(60)

    worker = threading.Thread(target=work)
    worker.start()
    inside.wait(60)
    state = torch.get_rng_state()
    found = torch.rand(3)
    torch.set_rng_state(state)
    assert torch.equal(found, torch.rand(3))
    assert not _python_dispatch.is_in_torch_dispatch_mode()
    after.set()
    worker.join()


@pytest.mark.parametrize("name", ["rand_like", "randn_like", "randint_like"])
def test_releases_of_torch_without_such_functions_draw_as_well(name):
    call = seeding._SUBSTITUTES[getattr(torch.ops.aten, name).default]
    bounds = (1000,) if name == "randint_like" else ()
    found = [call(SeededDraws(key), (ONES, *bounds), {"dtype": torch.float64}) for key in (1, 1, 2)]
    assert found[0].dtype == torch.float64
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    if bounds:
        low = seeding._SUBSTITUTES[torch.ops.aten.randint_like.low_dtype]
        assert low(SeededDraws(1), (ONES, 10, 11), {}).eq(10).all()
        assert 0 <= int(found[0].min()) < int(found[0].max()) < 1000


def test_what_draws_from_torchs_own_generator_only_is_refused():
    attention = torch.ops.aten._scaled_dot_product_efficient_attention.default
    names = [argument.name for argument in attention._schema.arguments]
    refuse = seeding._refusal(attention, names)
    with pytest.raises(PipelineError, match=r"efficient_attention.* the whole process shares"):
        refuse(SeededDraws(1), (ONES, ONES, ONES, None, False, 0.1), {})
    recurrent = torch.ops.aten._cudnn_rnn.default
    refuse = seeding._refusal(
        lambda *_, **__: "called", [a.name for a in recurrent._schema.arguments]
    )
    assert refuse(SeededDraws(1), (), {"dropout": 0.5, "train": False}) == "called"
    assert refuse(SeededDraws(1), (), {"dropout": 0.0, "train": True}) == "called"


def test_every_function_of_torch_that_draws_is_known():
    """A new one is either given a generator or refused, and named here if it draws nothing."""
    refused = set()
    for full in torch._C._dispatch_get_all_op_names():
        space, _, name = full.partition("::")
        base, _, overload = name.partition(".")
        func = getattr(getattr(torch.ops, space), base, None)
        func = getattr(func, overload or "default", None)
        if torch.Tag.nondeterministic_seeded not in getattr(func, "tags", ()):
            continue
        call = seeding._call_of(func)
        if call is None:
            assert func._schema.name in seeding._DRAW_NOTHING
        elif call.__qualname__.startswith("_refusal"):
            refused.add(base)
    words = ("attention", "rnn", "lstm", "dropout_state", "native_dropout", "_like", "inductor")
    assert {name for name in refused if not any(word in name for word in words)} == set()


def test_nothing_heavy_is_imported():
    code = """
        import sys, torch
        before = set(sys.modules)
        from ffcv_plugins.torch.seeding import SeededDraws
        with SeededDraws(1):
            torch.nn.functional.dropout(torch.rand(3))
        heavy = {"torch._dynamo", "sympy"} & (set(sys.modules) - before)
        assert not heavy, heavy
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=120)
