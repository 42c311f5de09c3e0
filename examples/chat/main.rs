//! chat
mod irc;
mod link;
mod login;
mod server;
mod trouble;
fn main() {}
