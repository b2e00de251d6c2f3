//! `inventory` over whole folders, plans and snapshots, in one binary. The modules are marked as tests, so that the lints for library
//! code leave them out.

#[cfg(test)]
mod collect;
#[cfg(test)]
mod config;
#[cfg(test)]
mod folder;
#[cfg(test)]
mod page;
#[cfg(test)]
mod scratch;
#[cfg(test)]
mod terraform;
