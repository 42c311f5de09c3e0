//! The benchmarks of redial: see the files beside this package's manifest.
