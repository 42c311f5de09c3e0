//! What does a store make of what a real server answers?

mod server;

use std::time::Duration;

use redial::budget::{Call, Store, StoreErrorKind};
use redial_redis::RedisStore;
use server::Server;
use tokio::time::timeout;

fn call() -> Call {
    Call::new("x", 3, Duration::from_secs(1))
}

async fn kind(store: &RedisStore) -> StoreErrorKind {
    let error = store.run(&call()).await.unwrap_err();
    assert!(!error.to_string().is_empty());
    error.kind()
}

/// How many clients are connected beside the one that asks.
fn clients(server: &Server) -> usize {
    let list: String = server.ask("CLIENT LIST");
    list.lines().count() - 1
}

#[tokio::test]
async fn a_server_that_does_not_know_the_script_is_sent_it() {
    let server = Server::start();
    let store = RedisStore::new(server.client());
    for _ in 0..2 {
        assert_eq!(store.run(&call()).await.unwrap()[0], 1);
        server.tell("SCRIPT FLUSH");
    }
    let known: Vec<bool> = server.ask(&format!("SCRIPT EXISTS {}", Call::SHA1));
    assert_eq!(known, [false]);
    store.run(&call()).await.unwrap();
    let known: Vec<bool> = server.ask(&format!("SCRIPT EXISTS {}", Call::SHA1));
    assert_eq!(known, [true]);
    assert_eq!(clients(&server), 1);
}

#[tokio::test]
async fn each_error_has_its_kind() {
    let server = Server::start();
    let store = RedisStore::new(server.client());
    store.run(&call()).await.unwrap();

    server.tell("CONFIG SET maxmemory 1");
    assert_eq!(kind(&store).await, StoreErrorKind::Full);
    server.tell("CONFIG SET maxmemory 0");

    server.tell("DEL redial:{x}");
    server.tell("LPUSH redial:{x} 1");
    assert_eq!(kind(&store).await, StoreErrorKind::Foreign);
    server.tell("SET redial:{x} mine");
    assert_eq!(kind(&store).await, StoreErrorKind::Foreign);
    server.tell("DEL redial:{x}");
    assert_eq!(clients(&server), 1);

    // A master that became a replica: the connection is dropped.
    server.tell("REPLICAOF 127.0.0.1 1");
    assert_eq!(kind(&store).await, StoreErrorKind::ReadOnly);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(clients(&server), 0);
    server.tell("REPLICAOF NO ONE");
    store.run(&call()).await.unwrap();
}

#[tokio::test]
async fn the_rights_that_the_page_names_suffice() {
    let server = Server::start();
    server.tell("ACL SETUSER app on >secret ~redial:* +eval +evalsha +time +get +set");
    let client = |user| {
        let port = server.port;
        redis::Client::open(format!("redis://{user}:secret@127.0.0.1:{port}")).unwrap()
    };
    let store = RedisStore::new(client("app"));
    store.run(&call()).await.unwrap();
    server.tell("ACL SETUSER app -time");
    assert_eq!(kind(&store).await, StoreErrorKind::Forbidden);
    server.tell("ACL SETUSER app +time -evalsha");
    assert_eq!(kind(&store).await, StoreErrorKind::Forbidden);
    // And a login that fails.
    let nobody = RedisStore::new(client("nobody"));
    assert_eq!(kind(&nobody).await, StoreErrorKind::Forbidden);
}

#[tokio::test]
async fn a_connection_that_breaks_is_replaced_when_the_store_is_asked_again() {
    let mut server = Server::start();
    let store = RedisStore::new(server.client());
    store.run(&call()).await.unwrap();
    server.tell("CLIENT KILL TYPE normal");
    // It may be noticed before it is asked, or by that.
    if store.run(&call()).await.is_err() {
        store.run(&call()).await.unwrap();
    }
    server.kill();
    let _ = store.run(&call()).await;
    assert_eq!(kind(&store).await, StoreErrorKind::Unreachable);
    server.start_again();
    store.run(&call()).await.unwrap();
}

#[tokio::test]
async fn a_question_that_is_given_up_leaves_no_connection_behind() {
    let server = Server::start();
    let store = RedisStore::new(server.client());
    store.run(&call()).await.unwrap();
    server.signal("STOP");
    let given_up = timeout(Duration::from_millis(50), store.run(&call())).await;
    assert!(given_up.is_err());
    // Nor is a server waited for that does not greet.
    let kind = timeout(Duration::from_millis(500), kind(&store)).await;
    assert_eq!(kind.unwrap(), StoreErrorKind::Unreachable);
    server.signal("CONT");
    store.run(&call()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(clients(&server), 1);
}
