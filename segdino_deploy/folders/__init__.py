"""Folders of any size on one machine: a bounded pipeline around the engine, a journal to go on from, a table."""
