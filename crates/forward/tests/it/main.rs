//! One binary: the engine against a scripted `_bulk` server, syslog and file sinks, re-drive.

#[cfg(test)]
mod bulk;
#[cfg(test)]
mod elasticsearch;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod files;
#[cfg(test)]
mod kit;
#[cfg(test)]
mod redrive;
#[cfg(test)]
mod syslog;
