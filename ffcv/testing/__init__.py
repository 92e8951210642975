"""What plugin authors test their plugins with.

* :mod:`ffcv.testing.harness` runs a field or an operation without a file and without a loader.
* :mod:`ffcv.testing.conformance` has test classes to inherit from: they hold a field, an
  operation or a plugin as a whole to everything that a loader relies on.
* :mod:`ffcv.testing.strategies` has hypothesis strategies for arrays and batches.

The last two need the extra ``ffcv[testing]`` (hypothesis and pytest); the harness needs neither.
"""

import sys

from ffcv.testing.harness import apply, decode, encode_value

__all__ = ["apply", "decode", "encode_value"]

if "pytest" in sys.modules:  # so that a failing suite shows the values that it compared
    sys.modules["pytest"].register_assert_rewrite("ffcv.testing.conformance")
