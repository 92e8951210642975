"""Test classes to inherit from. They need ``ffcv[testing]`` (hypothesis and pytest).

Derive a class with a name that pytest collects, say what is to be tested, and the tests come along.

Example:
    >>> from hypothesis import strategies as st
    >>> from ffcv.fields import IntField
    >>> class TestIntField(FieldConformance):
    ...     def fields(self):
    ...         return [IntField()]
    ...     def values(self, field):
    ...         return st.integers(-(2**63), 2**63 - 1)
    ...     def wrong_values(self, field):
    ...         return [("three", "expected an integer, got str 'three'")]
"""

from ffcv.testing.conformance.commands import CommandConformance
from ffcv.testing.conformance.fields import FieldConformance
from ffcv.testing.conformance.operations import OperationConformance
from ffcv.testing.conformance.plugins import PluginConformance
from ffcv.testing.conformance.storages import StorageConformance

__all__ = [
    "CommandConformance",
    "FieldConformance",
    "OperationConformance",
    "PluginConformance",
    "StorageConformance",
]
