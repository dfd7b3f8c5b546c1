"""Folders, large images and the HTTP server, measured against the engine they run."""
