"""Every exception that ffcv raises on purpose.

::

    FfcvError
    ├── BetonError                      a .beton file cannot be used            (.path)
    │   ├── MissingFileError            no such file, or a directory            (FileNotFoundError)
    │   ├── NotABetonFileError          another kind of file, or a pipe or a device
    │   ├── UnsupportedVersionError     another version of the format than 2
    │   ├── UnfinishedFileError         its writer never finished
    │   ├── TruncatedFileError          shorter than its own header says, or than when it was opened
    │   ├── ChangedFileError            another file than before
    │   ├── DamagedFileError            its header, tables or extension make no sense
    │   └── ChecksumError               stored bytes differ from their checksum
    ├── PluginError
    │   ├── MissingPluginError          a file or a name needs a plugin that is not installed
    │   │                                                                       (ValueError)
    │   └── UnknownNameError            no plugin provides this name            (AttributeError)
    ├── ArgumentError                   an argument is out of its range         (ValueError)
    │   ├── EmptyPassError              a pass over the data would have no batch
    │   ├── SampleIndexError            there is no such sample                 (IndexError)
    │   └── StateError                  a saved state is none of such a loader
    ├── PipelineError                   operations do not fit each other   (ValueError, TypeError)
    │   └── CompilationError            an operation does not compile
    ├── SampleError                     a sample could not be decoded, or a kernel refused it
    ├── OperationError                  a step raised what would end a loop or the program, such as
    │                                   StopIteration                       (RuntimeError)
    ├── LoaderClosedError               a closed loader was iterated
    ├── NotCopyableError                what holds threads or files cannot be copied    (TypeError)
    ├── NotReplaceableError             no loader of torch can be made of ours     (AttributeError)
    └── WriteError                      a dataset could not be written
        ├── SampleEncodingError         one value was refused                   (ValueError)
        ├── DatasetError                the dataset failed, or has another shape than the fields
        ├── WorkerDiedError             an encoding process was killed
        └── DiskFullError               no space left                           (OSError)

Catch :class:`FfcvError` to catch them all. Where a builtin exception says the same, the class is
one of those as well, so that ``except FileNotFoundError`` does what one expects.
"""

from __future__ import annotations

import os

__all__ = [
    "ArgumentError",
    "BetonError",
    "ChangedFileError",
    "ChecksumError",
    "CompilationError",
    "DamagedFileError",
    "DatasetError",
    "DiskFullError",
    "EmptyPassError",
    "FfcvError",
    "LoaderClosedError",
    "MissingFileError",
    "MissingPluginError",
    "NotABetonFileError",
    "NotCopyableError",
    "NotReplaceableError",
    "OperationError",
    "PipelineError",
    "PluginError",
    "SampleEncodingError",
    "SampleError",
    "SampleIndexError",
    "StateError",
    "TruncatedFileError",
    "UnfinishedFileError",
    "UnknownNameError",
    "UnsupportedVersionError",
    "WorkerDiedError",
    "WriteError",
]


class FfcvError(Exception):
    """Base of all exceptions of this package."""


class BetonError(FfcvError):
    """A ``.beton`` file cannot be used.

    Attributes:
        path: the file, as it was given.
    """

    def __init__(self, path: str | os.PathLike[str], problem: str) -> None:
        super().__init__(f"{os.fspath(path)}: {problem}")
        self.path = os.fspath(path)
        self.problem = problem

    def __reduce__(self) -> tuple[type[BetonError], tuple[str, str]]:
        return type(self), (self.path, self.problem)


class MissingFileError(BetonError, FileNotFoundError):
    """There is no such file, or it is a directory."""


class NotABetonFileError(BetonError):
    """It is another kind of file, is too short for a header, or is no regular file."""


class UnsupportedVersionError(BetonError):
    """The file has another version of the format than 2."""


class UnfinishedFileError(BetonError):
    """The file's writer never finished it."""


class TruncatedFileError(BetonError):
    """The file is shorter than its own header says, or shrank while it was open."""


class ChangedFileError(BetonError):
    """The file is another one than before: it was replaced or written over."""


class DamagedFileError(BetonError):
    """Header, field descriptors, tables or extension block contradict themselves."""


class ChecksumError(BetonError):
    """Stored bytes differ from the checksum that was stored with them."""


class PluginError(FfcvError):
    """Something is wrong with a plugin."""


class MissingPluginError(PluginError, ValueError):
    """A file or a name needs a plugin that is not installed."""


class UnknownNameError(PluginError, AttributeError):
    """No installed plugin provides this name."""


class ArgumentError(FfcvError, ValueError):
    """An argument is out of its range or of the wrong kind."""


class EmptyPassError(ArgumentError):
    """A pass over the data has no batch.

    A training loop would run through it without a word, whatever the reason: no samples, fewer than
    a batch, or none that can be decoded. It is raised as soon as that is known.
    """


class SampleIndexError(ArgumentError, IndexError):
    """There is no sample with this index."""


class StateError(ArgumentError):
    """A state that was saved is none of a loader like this one.

    The message says what differs: dataset, samples, order, pipelines, seed, version.
    """


class PipelineError(FfcvError, ValueError, TypeError):
    """Operations of a pipeline do not fit each other, their field or the loader.

    It tells of all mismatches at once, so it is what FFCV 1.x raised for any of them.
    """


class CompilationError(PipelineError):
    """An operation could not be compiled to machine code."""


class SampleError(FfcvError):
    """A sample could not be decoded, or a kernel raised an exception for it, which is the cause.

    Attributes:
        path: the file.
        field: name of the loader's output.
        sample: index of the sample.
    """

    def __init__(self, path: str, field: str, sample: int, problem: str) -> None:
        super().__init__(f"{path}: field {field!r}, sample {sample}: {problem}")
        self.path, self.field, self.sample, self.problem = path, field, sample, problem

    def __reduce__(self) -> tuple[type[SampleError], tuple[str, str, int, str]]:
        return type(self), (self.path, self.field, self.sample, self.problem)


class OperationError(FfcvError, RuntimeError):
    """The user's code raised something that would end a loop or the program without a word.

    Such as ``StopIteration`` or ``SystemExit``. It is the cause of this error. All other exceptions
    arrive as they are, with a note that says where they were raised.
    """


class LoaderClosedError(FfcvError):
    """A loader was iterated after ``close()``."""


class NotCopyableError(FfcvError, TypeError):
    """Something that holds threads or an open file was to be copied or pickled."""


class NotReplaceableError(FfcvError, AttributeError):
    """A framework was to make a loader of torch out of one of ours."""


class WriteError(FfcvError):
    """A dataset could not be written; nothing appeared under the target name."""


class SampleEncodingError(WriteError, ValueError):
    """One value of a sample was refused.

    Attributes:
        field: name of the field.
        sample: the sample's position in the dataset.
    """

    def __init__(self, field: str, sample: int, problem: str) -> None:
        super().__init__(f"field {field!r}, sample {sample}: {problem}")
        self.field, self.sample, self.problem = field, sample, problem

    def __reduce__(self) -> tuple[type[SampleEncodingError], tuple[str, int, str]]:
        return type(self), (self.field, self.sample, self.problem)


class DatasetError(WriteError):
    """The dataset raised an exception, or its samples have another arity than the fields."""


class WorkerDiedError(WriteError):
    """An encoding process was killed from outside."""


class DiskFullError(WriteError, OSError):
    """No space was left on the device."""
