"""Commands that the laboratory adds to `hivlp`: `hivlp bench` and `hivlp reproduce`."""
