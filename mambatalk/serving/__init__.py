"""From a recording to result files: for the command line and over HTTP."""
