//! Does a real server answer as the mirror of the script does?
//!
//! The time of the server is an argument here, in place of its clock.

#[path = "../../tests/mirror/mod.rs"]
mod mirror;
mod server;

use mirror::script;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redial::budget::Call;
use redis::{Connection, RedisResult};
use server::Server;

const KEY: &str = "redial:{x}";
const SECOND: i64 = 1_000_000;
const NOW: i64 = 1_795_729_960_366_700;

/// The script, with its time as a seventh argument.
fn at_a_time() -> String {
    let clock = "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n";
    assert!(Call::SCRIPT.contains(clock));
    Call::SCRIPT.replace(clock, "local now = tonumber(ARGV[7])\n")
}

fn run(server: &mut Connection, now: i64, arguments: [i64; 6]) -> RedisResult<[i64; 3]> {
    let mut command = redis::cmd("EVAL");
    command.arg(at_a_time()).arg(1).arg(KEY);
    for argument in arguments {
        command.arg(argument);
    }
    command.arg(now).query(server)
}

fn get(server: &mut Connection) -> Option<String> {
    redis::cmd("GET").arg(KEY).query(server).unwrap()
}

#[derive(Clone, Debug)]
struct Step {
    pass: i64,
    count: i64,
    floor: i64,
    /// The deadline, if there is one, is so long ago.
    late: Option<i64>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let time = || prop_oneof![3 => 0_i64..2000, 2 => 0_i64..10_000_000, 1 => -5_000_000_i64..0];
    let floor =
        prop_oneof![3 => Just(0_i64), 1 => 0_i64..20_000_000, 1 => 0_i64..31_622_400_000_000];
    let late = prop::option::weighted(0.2, -1000..1000_i64);
    let step = (time(), 0..1025_i64, floor, late).prop_map(|(pass, count, floor, late)| Step {
        pass,
        count,
        floor,
        late,
    });
    prop::collection::vec(step, 1..20)
}

/// Each answer, each state that is stored, and each time until it expires.
#[test]
fn the_script_and_its_mirror_agree_on_random_histories() {
    let server = Server::start();
    let mut connection = server.connect().unwrap();
    let mut runner = TestRunner::new(Config::with_cases(256));
    let period = prop_oneof![1..10_i64, 1..1_000_000_i64, Just(86_400_000_000)];
    let outcome = runner.run(&(period, 1..30_i64, steps()), |(period, burst, steps)| {
        let connection = &mut server.connect().unwrap();
        redis::cmd("DEL").arg(KEY).exec(connection).unwrap();
        let (mut now, mut state) = (NOW, None);
        for step in steps {
            now += step.pass;
            let deadline = step.late.map_or(0, |late| now - late);
            let keep = 1000 + step.count * 1000;
            let arguments = [period, burst, step.count, step.floor, deadline, keep];
            let (answer, written) = script(state.as_deref(), now, arguments).unwrap();
            prop_assert_eq!(run(connection, now, arguments).unwrap(), answer);
            if let Some((value, expires)) = written {
                let left: i64 = redis::cmd("PTTL").arg(KEY).query(connection).unwrap();
                prop_assert!(left <= expires && left + 500 > expires, "{left} {expires}");
                state = Some(value);
            }
            prop_assert_eq!(&get(connection), &state);
        }
        Ok(())
    });
    outcome.unwrap();
    redis::cmd("PING").exec(&mut connection).unwrap();
}

#[test]
fn a_string_of_somebody_else_is_an_error_and_stays() {
    let server = Server::start();
    let mut connection = server.connect().unwrap();
    for other in [
        "17", "1 2 3", "1.5 2", "-1 2", "1 x", " 2", "1 ", "1  2", "1e3 2",
    ] {
        redis::cmd("SET")
            .arg(KEY)
            .arg(other)
            .exec(&mut connection)
            .unwrap();
        let arguments = [SECOND, 3, 1, 0, 0, 1000];
        let error = run(&mut connection, NOW, arguments).unwrap_err();
        assert_eq!(error.code(), Some("FOREIGN"), "{error}");
        assert_eq!(get(&mut connection).as_deref(), Some(other));
        assert!(script(Some(other), NOW, arguments).is_err());
    }
}

#[test]
fn the_numbers_are_exact_until_the_year_2255() {
    let server = Server::start();
    let mut connection = server.connect().unwrap();
    let late = (1 << 53) - 1_000_000;
    for count in 1..100 {
        let arguments = [1, 1, count, 0, 0, 1000];
        let state = get(&mut connection);
        let (answer, written) = script(state.as_deref(), late, arguments).unwrap();
        assert_eq!(run(&mut connection, late, arguments).unwrap(), answer);
        assert_eq!(get(&mut connection), written.map(|(value, _)| value));
    }
}

/// A clock that is set: with a bucket of 3, one each second, and six tokens taken.
#[test]
fn a_clock_that_is_set_neither_earns_nor_costs() {
    const HOUR: i64 = 3600 * SECOND;
    let server = Server::start();
    let mut connection = server.connect().unwrap();
    let mut wait = |now, count, floor| {
        let arguments = [SECOND, 3, count, floor, 0, 1000];
        run(&mut connection, now, arguments).unwrap()[2]
    };
    // A bucket that has long been full.
    assert_eq!(wait(NOW - HOUR, 0, 0), SECOND);
    assert_eq!(wait(NOW, 6, 0), -2 * SECOND);
    assert_eq!(wait(NOW, 0, 0), 4 * SECOND);
    // Back by an hour, and then half a second later.
    assert_eq!(wait(NOW - HOUR, 0, 0), 4 * SECOND);
    assert_eq!(wait(NOW - HOUR + SECOND / 2, 1, 0), 7 * SECOND / 2);
    // Back once more.
    assert_eq!(wait(NOW - HOUR - 10 * SECOND, 0, 0), 9 * SECOND / 2);
    // Ahead by an hour: a caller that remembers 6.3 s restores the queue.
    assert_eq!(wait(NOW, 0, 6_300_000), 4_300_000);
    // If nobody does, it cannot be told from an hour without clients: the bucket is full.
    assert_eq!(wait(NOW + HOUR, 0, 0), -2 * SECOND);
}
