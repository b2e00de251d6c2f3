//! `access` against policies by others, and its two halves against each other, in one binary. The modules are marked as tests, so that
//! the lints for library code leave them out.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod boundaries;
#[cfg(test)]
mod callers;
#[cfg(test)]
mod corpora;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod evaluator;
#[cfg(test)]
mod external;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod incremental;
#[cfg(test)]
mod metamorphic;
#[cfg(test)]
mod mutate;
#[cfg(test)]
mod oracles;
#[cfg(test)]
mod oracles_found;
#[cfg(test)]
mod outside;
#[cfg(test)]
mod outsiders;
#[cfg(test)]
mod patch;
#[cfg(test)]
mod patches;
#[cfg(test)]
mod people;
#[cfg(test)]
mod permissions;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod reach;
#[cfg(test)]
mod readings;
#[cfg(test)]
mod readings_random;
#[cfg(test)]
mod reasons;
#[cfg(test)]
mod run;
#[cfg(test)]
mod s3_matrix;
#[cfg(test)]
mod same_bytes;
#[cfg(test)]
mod speed;
#[cfg(test)]
mod traps;
#[cfg(test)]
mod validate;
#[cfg(test)]
mod whoever;
#[cfg(test)]
mod workloads;
