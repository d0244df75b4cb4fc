"""The errors this package raises for reasons its user can act on.

::

    NaitError
    ├── CorpusError              a corpus file cannot be read, or holds no usable row
    ├── TemplateError            the text template is unknown or cannot be applied
    ├── ModelError               the model folder is unusable, or a forward pass went wrong
    │   └── ArchitectureError    the model's neurons are not where they should be
    ├── StoreError               the index cannot be read or written, or is damaged
    │   ├── NotAnIndexError      there is no index at this path
    │   ├── IncompleteIndexError the build of this index was interrupted
    │   ├── FingerprintError     index and request differ in a setting that affects scores
    │   └── IndexBusyError       another process is writing to this index
    ├── CapabilityError          a capability has no usable example, or another name than one can have
    │   ├── UnknownCapabilityError   there is none of this name
    │   └── CapabilityExistsError    there is another one of this name
    ├── SelectionError           a budget, filter or vote count cannot be met
    │   └── UnknownRowError      there is no row with this id
    └── OutputExistsError        a file exists and ``--force`` was not given

Each message is one line: what was wrong, where, and what to do.
"""


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line of at most 300 characters, or the error's type if it has none."""
    return " ".join(str(error).split())[:300] or type(error).__name__


class NaitError(Exception):
    """Base of all errors of this package; its message is one line meant for the user."""


class CorpusError(NaitError):
    """A corpus file cannot be read, or holds no usable row."""


class TemplateError(NaitError):
    """The text template is unknown or cannot be applied."""


class ModelError(NaitError):
    """The model folder is unusable, or a forward pass went wrong."""


class ArchitectureError(ModelError):
    """The model's neurons are not where they should be."""


class StoreError(NaitError):
    """The index cannot be read or written, or is damaged."""


class NotAnIndexError(StoreError):
    """There is no index at this path."""


class IncompleteIndexError(StoreError):
    """The build of this index was interrupted."""


class FingerprintError(StoreError):
    """Index and request differ in a setting that affects scores."""


class IndexBusyError(StoreError):
    """Another process is writing to this index."""


class CapabilityError(NaitError):
    """A capability is unknown, exists already, or has no usable example."""


class UnknownCapabilityError(CapabilityError):
    """There is no capability of this name."""


class CapabilityExistsError(CapabilityError):
    """There is another capability of this name."""


class SelectionError(NaitError):
    """A budget, filter or vote count cannot be met."""


class UnknownRowError(SelectionError):
    """There is no row with this id."""


class OutputExistsError(NaitError):
    """A file exists and was not to be overwritten."""
