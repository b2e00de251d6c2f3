//! `access` against policies by others, and its two halves against each other, in one binary. The modules are marked as tests, so that
//! the lints for library code leave them out.

#[cfg(test)]
mod corpora;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod evaluator;
mod external;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod oracles;
#[cfg(test)]
mod oracles_found;
mod outsiders;
#[cfg(test)]
mod reasons;
#[cfg(test)]
mod speed;
mod traps;
#[cfg(test)]
mod validate;
#[cfg(test)]
mod workloads;
