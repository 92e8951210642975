"""Which outputs a loader has, and from which steps each of them comes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ffcv.beton.field import Field
from ffcv.errors import PipelineError
from ffcv.pipeline.attributes import default_decoder
from ffcv.pipeline.function import PythonFunction
from ffcv.pipeline.operation import Operation
from ffcv.pipeline.pipeline_spec import PipelineSpec
from ffcv.plugin import registry
from ffcv.plugin.records import Kind
from ffcv.suggesting import did_you_mean

__all__ = ["Output", "hint", "resolve_outputs", "with_index"]


class Output(NamedTuple):
    """One output.

    Attributes:
        field: name of the field that it decodes.
        steps: its operations.
    """

    field: str
    steps: list[Any]


def resolve_outputs(
    path: str, fields: Mapping[str, Field], pipelines: Mapping[str, Any]
) -> dict[str, Output]:
    """All outputs, those of the file's fields first.

    Args:
        path: the file, for messages.
        fields: its fields.
        pipelines: the user's argument: name to a list of steps, a ``PipelineSpec`` or ``None``.

    Raises:
        PipelineError: an entry is of another kind, or refers to nothing or in a circle.
    """
    _check_is_dict(pipelines)
    for name, entry in pipelines.items():
        if name not in fields and not isinstance(entry, PipelineSpec):
            raise PipelineError(f"pipelines: {path} has no field {hint(name, fields)}")
    resolver = _Resolver(fields, pipelines)
    names = [name for name in fields if pipelines.get(name, _DEFAULT) is not None]
    extra = [name for name in pipelines if name not in fields]
    return {name: resolver.output(name, ()) for name in names + extra}


def _check_is_dict(pipelines: Any) -> None:
    if not isinstance(pipelines, Mapping):
        raise PipelineError(
            f"pipelines: expected a dict of field names, got {type(pipelines).__name__}"
        )


_INDEX = "index"


def with_index(
    path: str, fields: Mapping[str, Field], pipelines: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The user's pipelines, and an output of sample indices behind them.

    Args:
        path: the file, for messages.
        fields: its fields.
        pipelines: the user's argument.

    Raises:
        PipelineError: there is a field or an output of this name.
    """
    _check_is_dict(pipelines)
    for there, kind in ((fields, "field"), (pipelines, "output")):
        if _INDEX in there:
            raise PipelineError(
                f"index=True: {path} has the {kind} {_INDEX!r} already; for the indices of samples "
                "give pipelines another name, with PipelineSpec(field, decoder=IndexDecoder())"
            )
    # Its records are looked at in any case; of a field with regions these would be found as well.
    field = min(fields, key=lambda name: fields[name].pointer is not None)
    last = registry.default_transform()
    decoder = registry.lookup("IndexDecoder", Kind.DECODER)()
    spec = PipelineSpec(field, decoder, [last()] if last else [])
    return {**pipelines, _INDEX: spec}


_DEFAULT = object()


class _Resolver:
    def __init__(self, fields: Mapping[str, Field], pipelines: Mapping[str, Any]) -> None:
        self.fields, self.pipelines = fields, pipelines
        self._adapted: dict[int, Any] = {}
        self._defaults: dict[str, Output] = {}

    def output(self, name: str, asked_by: tuple[str, ...]) -> Output:
        """One output; ``asked_by`` are those whose sources led to it."""
        if name in asked_by:
            circle = " → ".join((*asked_by[asked_by.index(name) :], name))
            raise PipelineError(f"pipelines: the sources of outputs form a circle: {circle}")
        entry = self.pipelines.get(name, _DEFAULT)
        if entry is _DEFAULT:
            return self._default(name)
        if isinstance(entry, PipelineSpec):
            return self._from_spec(name, entry, (*asked_by, name))
        return Output(name, self._steps(name, entry))

    def _default(self, field: str) -> Output:
        """The pipeline of a field for which the user gave none; always the same instances."""
        if field not in self._defaults:
            last = registry.default_transform()
            decoder = default_decoder(self.fields[field], field)
            self._defaults[field] = Output(field, [decoder, *([last()] if last else [])])
        return self._defaults[field]

    def _from_spec(self, name: str, spec: PipelineSpec, trail: tuple[str, ...]) -> Output:
        transforms = self._adapt_all(name, spec.transforms or ())
        if isinstance(spec.source, str) and spec.source in self.fields:
            return self._from_field(spec, transforms)
        if spec.decoder is not None:
            raise PipelineError(
                f"pipelines[{name!r}]: a decoder reads a field, but its source is "
                f"{_name(spec.source)}; leave the decoder out"
            )
        if isinstance(spec.source, str):
            if spec.source not in self.pipelines:
                known = [*self.fields, *self.pipelines]
                raise PipelineError(
                    f"pipelines[{name!r}]: there is no field or output {hint(spec.source, known)}"
                )
            before = self.output(spec.source, trail)
        else:
            before = self._up_to(name, spec.source, trail)
        return Output(before.field, [*before.steps, *transforms])

    def _from_field(self, spec: PipelineSpec, transforms: list[Any]) -> Output:
        if spec.decoder is None and not transforms:
            return self._default(spec.source)
        decoder = spec.decoder or self._default(spec.source).steps[0]
        return Output(spec.source, [*self._adapt_all(spec.source, [decoder]), *transforms])

    def _up_to(self, name: str, operation: Any, trail: tuple[str, ...]) -> Output:
        """The part of another output that ends with an operation."""
        is_step = isinstance(operation, Operation) or callable(operation)
        if isinstance(operation, type) or not is_step:
            raise PipelineError(
                f"pipelines[{name!r}]: expected the name of a field or output, or an operation of "
                f"another pipeline, for its source, got {operation!r}"
            )
        holders = [other for other in self.pipelines if self._holds(other, operation)]
        if not holders:
            raise PipelineError(
                f"pipelines[{name!r}]: its source {_name(operation)} stands in no other pipeline"
            )
        # One that asks for this output holds it in a circle, which `output` reports.
        output = self.output(min(holders, key=lambda other: other in trail), trail)
        wanted = self._adapt(operation)
        stop = next(i for i, step in enumerate(output.steps) if step is wanted)
        return Output(output.field, output.steps[: stop + 1])

    def _holds(self, name: str, operation: Any) -> bool:
        """Whether an operation is one of an output's own steps."""
        entry = self.pipelines[name]
        if entry is None:
            return False
        # What continues from elsewhere has only its transforms to itself.
        own = (entry.transforms or ()) if isinstance(entry, PipelineSpec) else entry
        decoders = (entry.decoder,) if isinstance(entry, PipelineSpec) else ()
        return any(step is operation for step in (*decoders, *own))

    def _steps(self, name: str, entry: Any) -> list[Any]:
        if isinstance(entry, str | bytes | Mapping) or not isinstance(entry, Iterable):
            raise PipelineError(
                f"pipelines[{name!r}]: expected a list of operations or None, got {entry!r}"
            )
        steps = self._adapt_all(name, entry)
        if not steps:
            raise PipelineError(
                f"pipelines[{name!r}] is empty: leave the field out of `pipelines` for its "
                "default decoder, or give None to not load it"
            )
        return steps

    def _adapt_all(self, name: str, steps: Iterable[Any]) -> list[Any]:
        found = list(steps)
        for position, step in enumerate(found, start=1):
            if isinstance(step, type):
                raise PipelineError(
                    f"output {name!r}, step {position}: {step.__name__} is a class; "
                    f"write {step.__name__}(…)"
                )
        return [self._adapt(step) for step in found]

    def _adapt(self, step: Any) -> Any:
        """Make an operation of what a user put into a pipeline; of one object always the same."""
        if isinstance(step, Operation):
            return step
        if id(step) not in self._adapted:
            operation = registry.adapt(step)
            if operation is None and callable(step):
                operation = PythonFunction(step)
            self._adapted[id(step)] = step if operation is None else operation
        return self._adapted[id(step)]


def _name(source: Any) -> str:
    return repr(source) if isinstance(source, str) else type(source).__name__


def hint(name: Any, known: Iterable[str]) -> str:
    """A name that is not there, what there is, and what may have been meant."""
    known = list(dict.fromkeys(known))
    return f"{name!r}, only {', '.join(map(repr, known))}{did_you_mean(name, known)}"
