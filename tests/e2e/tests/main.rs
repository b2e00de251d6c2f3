//! The whole product through the shipped binary, against software by others. One module per subject.

mod access;
mod badinput;
mod cloudtrail;
mod collect_commands;
mod commands;
mod crash;
mod demo;
mod estate;
mod forward;
mod golden;
mod http;
mod numbers;
mod pages;
mod payloads;
mod peers;
mod scan;
mod syslog;
mod tail;
mod tamper;
