"""The data rules as Great Expectations suites, and Data Docs as pages that open offline."""
