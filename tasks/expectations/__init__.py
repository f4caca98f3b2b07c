"""Great Expectations suites and Data Docs."""
