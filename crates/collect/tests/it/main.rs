//! Sources over real sockets and real files, against an intake in memory.

#[cfg(test)]
mod cloudtrail;
#[cfg(test)]
mod files;
#[cfg(test)]
mod help;
#[cfg(test)]
mod http;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod syslog;
