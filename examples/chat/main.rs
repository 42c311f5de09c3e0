//! chat
mod irc;
mod link;
mod login;
mod outbox;
mod server;
mod terminal;
mod trouble;
fn main() {}
