"""Record what a module computes, and fold the record into layers that can be evaluated.

The trace of a module passes every call to a :class:`~.recorder.Recorder`, which knows torch's operations.
:mod:`.folding` then turns the recorded nodes into layers.
"""
