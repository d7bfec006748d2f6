"""The benchmark of search: HiVLP and every peer, in one run, on the same vectors and threads."""
