"""Serving engines with NVIDIA's Triton Inference Server: the model repository that it loads, and a client.

`plan` chooses an engine of a bundle, `serving` knows what each of Triton's backends needs, `configuration` writes
`config.pbtxt` with Triton's own protobuf classes, `repository` puts the files in place; `record` is what a served model
says of itself. `address`, `connection` and `runner` are the client: a server's model as a `Runner`.
"""
