//! The binary. All of it is the library beside it: a library is compiled while the crates under it still are, a binary waits for them,
//! which after a change in one of them is a third of the time.

fn main() -> std::process::ExitCode {
    avouch::main()
}
