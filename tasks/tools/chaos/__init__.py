"""A rehearsal of failing servers, disks and processes, on a copy of the checkout."""
