"""Our own plugins come through the same door, and every hook of it is documented."""

from __future__ import annotations

import inspect

import pytest

from ffcv.beton.field import Field
from ffcv.pipeline import Operation, SampleDecoder, SampleOperation
from ffcv.plugin import hookspecs, registry
from ffcv.plugin.catalogue import FORMAT_TYPE_IDS, HOOKS
from ffcv.plugin.records import Kind
from ffcv_plugins.images.hookspecs import ImageKind

BASES: dict[Kind, tuple[type, ...]] = {
    Kind.FIELD: (Field,),
    Kind.DECODER: (SampleDecoder, Operation),
    Kind.TRANSFORM: (SampleOperation, Operation),
}
OURS = [r for r in registry.contributions() if r.distribution == "ffcv"]
ADDED = {hook.name: hook for hook in registry.hooks()}
SPECS = {n: f for n, f in vars(hookspecs).items() if n.startswith("ffcv_")}
SPECS |= {name: hook.specification for name, hook in ADDED.items()}


@pytest.mark.parametrize("name", SPECS)
def test_hook_is_documented_and_typed(name: str) -> None:
    assert inspect.getdoc(SPECS[name])
    assert inspect.signature(SPECS[name]).return_annotation is not inspect.Signature.empty


def test_every_hook_has_a_caller_and_every_kind_a_hook() -> None:
    assert set(SPECS) == {*HOOKS, *ADDED, "ffcv_hookspecs", "ffcv_adapt", "ffcv_seed_draws"}
    kinds = [*HOOKS.values(), *(hook.kinds for hook in ADDED.values())]
    assert {kind for several in kinds for kind in several} == set(Kind)


def test_images_add_a_hook_of_their_own() -> None:
    assert ADDED["ffcv_image_codecs"].kinds == (ImageKind.CODEC,)
    names = {r.name for r in registry.contributions(ImageKind.CODEC) if r.distribution == "ffcv"}
    assert names == {"native", "opencv"}


@pytest.mark.parametrize("registered", OURS, ids=str)
def test_contribution_imports_and_fits_its_kind(registered: registry.Registered) -> None:
    contribution = registered.contribution
    if contribution.requires:
        pytest.importorskip(contribution.requires)
    cls = registry.lookup(contribution.name, contribution.kind)
    assert issubclass(cls, BASES.get(contribution.kind, (object,)))
    assert inspect.getdoc(cls)
    if contribution.kind in BASES:
        assert cls.__name__ == contribution.name
    assert contribution.summary
    assert "\n" not in contribution.summary
    assert not contribution.summary.endswith(".")


def test_decoders_of_our_fields_are_registered_and_know_them() -> None:
    for registered in registry.contributions(Kind.DECODER):
        cls = registry.lookup(registered.name, Kind.DECODER)
        if registered.distribution == "ffcv" and issubclass(cls, SampleDecoder):
            assert cls.fields or registered.name == "IndexDecoder"  # which reads any
            for field in cls.fields:
                assert registry.find(field, Kind.FIELD), f"{cls.__name__} reads {field}"


def test_our_plugins_have_no_problems() -> None:
    assert [p for p in registry.problems() if p.distribution == "ffcv"] == []
    status = {p.name: p.status for p in registry.plugins() if p.distribution == "ffcv"}
    assert status == dict.fromkeys(
        ["arrays", "augment", "cloud", "images", "scalars", "torch"], "loaded"
    )


def test_every_type_id_of_the_format_has_a_field() -> None:
    numbers = [registry.field_by_type_id(number).__name__ for number in FORMAT_TYPE_IDS]
    assert numbers == [
        "FloatField",
        "IntField",
        "RGBImageField",
        "BytesField",
        "NDArrayField",
        "JSONField",
        "TorchTensorField",
    ]
