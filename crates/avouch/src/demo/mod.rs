//! The demo: the whole product on a made-up estate, embedded defaults, a folder of its own.

pub mod access;
pub mod estate;
pub mod invite;
pub mod run;
pub mod summary;
