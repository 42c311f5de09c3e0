//! chat
mod irc;
mod server;
fn main() {}
