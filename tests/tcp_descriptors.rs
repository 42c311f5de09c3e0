//! Does a dial leave a descriptor open?
//!
//! The only test of this file, because descriptors are counted by process.
#![cfg(all(feature = "tokio", target_os = "linux"))]

use std::time::Duration;

use redial::tcp;
use tokio::net::TcpListener;
use tokio::time::timeout;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test(start_paused = true)]
async fn a_dial_leaves_the_connection_that_it_returns_and_no_other() {
    let one = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [&one, &other].map(|listener| listener.local_addr().unwrap());
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = reserved.local_addr().unwrap();
    drop(reserved);
    let before = descriptors();
    for round in 0..500 {
        let mut dial = tcp::connect([addresses[0], refused, addresses[1]]);
        if round % 2 == 0 {
            // The one that does not refuse is not alone.
            dial = tcp::connect([refused, addresses[1], addresses[0]]);
        }
        let stream = dial.await.unwrap();
        assert_eq!(descriptors(), before + 1);
        drop(stream);
        // Dropped at its first await point.
        let _ = timeout(Duration::ZERO, tcp::connect(addresses).dial()).await;
        assert_eq!(descriptors(), before);
        for listener in [&one, &other] {
            while timeout(Duration::ZERO, listener.accept()).await.is_ok() {}
        }
    }
}
