"""The suite behind the first part of RESULTS.md: the whole path, from checkpoint to report, for each case."""
