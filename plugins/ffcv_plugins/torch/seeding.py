"""What torch draws in a step, from generators of the loader's own.

Random functions of torch take their numbers from one generator for each device, which the whole
process shares. What a worker draws there would depend on when the training loop draws, and the
other way round. :class:`SeededDraws` hands such functions another generator, in one thread alone,
whether they are called by Python, by a scripted module or by compiled code.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch._C import _pop_torch_dispatch_stack, _push_on_torch_dispatch_stack
from torch.utils._python_dispatch import TorchDispatchMode

from ffcv.errors import PipelineError
from ffcv.kernels.random import fork

__all__ = ["SeededDraws"]

_SEEDED = torch.Tag.nondeterministic_seeded
"""The mark of functions that draw from a generator."""

Call = Callable[["SeededDraws", tuple[Any, ...], dict[str, Any]], Any]
"""How a function is called that draws."""


class SeededDraws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, this thread's draws follow from a key, and from nothing else.

    Args:
        key: 64 bits.

    Example:
        >>> def draw():
        ...     with SeededDraws(1):
        ...         return torch.rand(2)
        >>> before = torch.get_rng_state()
        >>> torch.equal(draw(), draw()), torch.equal(before, torch.get_rng_state())
        (True, True)
    """

    supports_higher_order_operators = True

    def __init__(self, key: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._key = int(key)
        self._generators: dict[torch.device, torch.Generator] = {}

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Let functions of ``torch.compile`` run compiled: they get their seeds here as well."""
        return True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # what torch does otherwise takes seconds of imports at the first call

    def __enter__(self) -> SeededDraws:
        # That of the base class also sets variables that all threads look at, and which two threads
        # may leave set for ever. Whether a function is compiled depends on them in some releases.
        _push_on_torch_dispatch_stack(self)
        return self

    def __exit__(self, *exception: object) -> None:
        _pop_torch_dispatch_stack(None)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch; in here the mode is off."""
        try:
            call = _calls[func]
        except KeyError:
            call = _calls[func] = _call_of(func)
        return func(*args, **(kwargs or {})) if call is None else call(self, args, kwargs or {})

    def generator(self, device: torch.device) -> torch.Generator | None:
        """The generator for draws on a device; ``None`` where nothing is ever drawn."""
        if device.type == "meta":
            return None
        found = self._generators.get(device)
        if found is None:
            found = torch.Generator(device)  # knows the number of a device that came without
            found = self._generators.setdefault(found.device, found)
            if device.type == "cpu" or device.index is not None:
                self._generators[device] = found
            place = 0 if found.device.index is None else found.device.index + 1
            found.manual_seed(fork(self._key, place))
        return found


_calls: dict[Any, Call | None] = {}
"""For each function that was ever called how to call it; ``None``: as it is."""


def _call_of(func: Any) -> Call | None:
    """How a function of torch is called so that it draws from generators of ours."""
    if not isinstance(func, torch._ops.OpOverload):
        return _with_functions(func)
    names = [argument.name for argument in func._schema.arguments]
    if "generator" in names:
        return _with_generator(func, names)
    if func.namespace not in _TORCHS:
        return _in_parts(func) if _is_composite(func) else _with_kernel(func)
    if _SEEDED not in func.tags:
        return None
    sibling = _sibling(func, names)
    if sibling is not None:
        return lambda mode, args, kwargs: sibling(
            *args, generator=mode.generator(_device(args, kwargs)), **kwargs
        )
    if func in _SUBSTITUTES:
        return _SUBSTITUTES[func]
    if _is_composite(func):
        return _in_parts(func)
    return None if func._schema.name in _DRAW_NOTHING else _refusal(func, names)


def _with_functions(func: Any) -> Call:
    """A function that calls functions, such as ``torch.cond``: the draws are in those."""

    def call(mode: SeededDraws, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def seeded(given: Any) -> Any:
            def run(*inner: Any, **named: Any) -> Any:
                with mode:
                    return given(*inner, **named)

            return run if callable(given) else given

        return func(*map(seeded, args), **{name: seeded(v) for name, v in kwargs.items()})

    return call


def _with_generator(func: Any, names: list[str]) -> Call:
    """A function that takes a generator, and draws from torch's if it is given none."""
    position = names.index("generator")

    def call(mode: SeededDraws, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        is_positional = len(args) > position
        given = args[position] if is_positional else kwargs.get("generator")
        if given is None or _is_shared(given):
            given = mode.generator(_device(args, kwargs))
        if is_positional:
            return func(*args[:position], given, *args[position + 1 :], **kwargs)
        return func(*args, **{**kwargs, "generator": given})

    return call


def _is_shared(generator: torch.Generator) -> bool:
    """Whether a generator is one of those that the whole process shares."""
    # Each look at a generator may give another object, but the same address.
    shared: tuple[Any, ...] = (torch.default_generator, *torch.cuda.default_generators)
    address: int = generator._cdata  # type: ignore[attr-defined]
    return any(address == other._cdata for other in shared)


def _sibling(func: Any, names: list[str]) -> Any:
    """The function that does the same and takes a generator, if there is one."""
    packet = func.overloadpacket
    for overload in packet.overloads():
        other = getattr(packet, overload)
        known = {argument.name: str(argument.type) for argument in other._schema.arguments}
        if known.pop("generator", None) and list(known) == names:
            own = [str(argument.type) for argument in func._schema.arguments]
            if own == list(known.values()):
                return other
    return None


def _device(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.device:
    """The device that a function draws on."""
    device = kwargs.get("device")
    if device is not None:
        return torch.device(device)
    first = next(_tensors((*args, *kwargs.values())), None)
    return torch.device("cpu") if first is None else first.device


_TORCHS = {
    "_quantized", "aten", "c10d", "inductor", "inductor_prims", "mkldnn", "onednn", "prim", "prims",
    "profiler", "quantized", "rngprims",
}  # fmt: skip
"""Where torch's own functions are, which bear a mark if they draw."""


def _with_kernel(func: Any) -> Call:
    """A function that somebody added to torch, which may draw in its kernel."""
    keys = torch._C.DispatchKey

    def call(mode: SeededDraws, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        found = torch._C.DispatchKeySet(keys.CPU)
        tensors = list(_tensors((*args, *kwargs.values())))
        if tensors:
            found = functools.reduce(operator.or_, map(torch._C._dispatch_keys, tensors))
        below = (found & torch._C._after_ADInplaceOrView_keyset).remove(keys.Python)
        with mode:
            return func.redispatch(below, *args, **kwargs)

    return call


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _is_composite(func: Any) -> bool:
    key = "CompositeImplicitAutograd"
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key))


def _in_parts(func: Any) -> Call:
    """A function that consists of others, which inference mode does not take apart by itself."""
    key = torch._C.DispatchKey.CompositeImplicitAutograd

    def call(mode: SeededDraws, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with mode:
            return func._op_dk(key, *args, **kwargs)

    return call


def _refusal(func: Any, names: list[str]) -> Call:
    """A function whose draws nothing but torch's own generator decides.

    Attention and recurrent layers on a GPU are such, and draw only where they drop something.
    """
    rate = next((name for name in ("dropout_p", "dropout") if name in names), None)

    def call(mode: SeededDraws, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        if rate is not None and (not given.get(rate) or given.get("train") is False):
            return func(*args, **kwargs)
        raise PipelineError(
            f"{func} draws from torch's generator, which the whole process shares, and takes no "
            "other one; leave it out of the loader's steps, or call it in the training loop"
        )

    return call


_DRAW_NOTHING = {
    "aten::_fused_sdp_choice",
    "aten::_fill_mem_eff_dropout_mask_",
    "aten::_nested_tensor_softmax_with_shape",
    "rngprims::philox_rand",
}
"""Functions that bear the mark all the same; some are told their seed."""


def _native_dropout(mode: SeededDraws, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Dropout in one function, with the mask that it keeps for a backward pass."""
    values, rate, *train = args
    if kwargs.get("train", *train) is False:
        return values, torch.ones_like(values, dtype=torch.bool)
    generator = mode.generator(values.device)
    kept = torch.empty_like(values, dtype=torch.bool).bernoulli_(1 - rate, generator=generator)
    return values * kept * (0.0 if rate == 1 else 1 / (1 - rate)), kept


def _like(fill: Callable[..., Any], takes: int = 0) -> Call:
    """A new tensor like another one, filled; for releases of torch without such siblings."""

    def call(mode: SeededDraws, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        new = torch.empty_like(args[0], **kwargs)
        bounds = args[1:] if len(args) - 1 == takes else (0, *args[1:])
        return fill(new, *bounds[:takes], generator=mode.generator(new.device))

    return call


_aten: Any = torch.ops.aten

_SUBSTITUTES: dict[Any, Call] = {
    _aten.native_dropout.default: _native_dropout,
    _aten.rand_like.default: _like(torch.Tensor.uniform_),
    _aten.randn_like.default: _like(torch.Tensor.normal_),
    _aten.randint_like.default: _like(torch.Tensor.random_, 2),
    _aten.randint_like.low_dtype: _like(torch.Tensor.random_, 2),
}
