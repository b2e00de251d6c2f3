//! Integration tests of `detect`, one binary. The modules are marked as tests, so that the lints for library code leave them out.

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod json;
#[cfg(test)]
mod measure;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod shipped;
#[cfg(test)]
mod support;
#[cfg(test)]
mod windows;
