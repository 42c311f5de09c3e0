//! chat
mod irc;
fn main() {}
