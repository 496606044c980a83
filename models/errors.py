"""What can go wrong on the way to an answer; every message names what was wrong and what to do."""


class CrosstalkError(Exception):
    """Base of all errors whose message is meant for the person in front of the page."""


class ModelError(CrosstalkError):
    """A model cannot be opened or used."""


class CheckpointError(CrosstalkError):
    """A checkpoint set, or one checkpoint of it, cannot be used."""


class EvalSetError(CrosstalkError):
    """An evaluation set is not what it should be; the message names file, line and field."""


class InputError(CrosstalkError):
    """A picture or a question that cannot be read."""


class OutOfMemory(ModelError):
    """A forward did not fit into memory; nothing of it stays there."""
