//! The pages and the API over a real socket, in front of a console with made-up data.

mod access;
mod client;
mod fixture;
mod pages;
mod security;
mod writes;
