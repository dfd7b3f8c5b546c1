"""Tests of int8 models."""
