"""A small HTTP server for bundles, in the protocol that Triton and KServe speak (v2, "Open Inference Protocol").

FastAPI and uvicorn do the HTTP. What is here: `wire` reads and writes the protocol's tensors, `batching` runs requests
together and refuses what would wait too long, `picture` is the one endpoint for image files, `app` joins them,
`protocol` bounds what a connection may cost, `model` opens the engines, and `server` runs until a signal.
"""
