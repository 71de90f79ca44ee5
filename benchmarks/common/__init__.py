"""What several benchmarks and the tests against other libraries share: nets, images, counters, other libraries."""
