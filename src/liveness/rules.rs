//! The rules of liveness as tables of events, without jitter: a silence of 25 s
//! before a ping and 15 s for the answer, unless a test says otherwise.
//!
//! Each rule is a way in which other libraries went wrong. Tests of many clients and
//! of random events are in `tests/liveness.rs`.

use super::*;
use alloc::vec::Vec;

use Does::{Asleep, Dead, Ping};

fn s(seconds: f64) -> Duration {
    Duration::from_millis((seconds * 1000.0) as u64)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn exact(liveness: Liveness) -> Liveness {
    Liveness {
        jitter: false,
        ..liveness
    }
}

fn up(liveness: Liveness) -> Heartbeat {
    Heartbeat::from_seed(exact(liveness), 1, Duration::ZERO)
}

fn defaults() -> Heartbeat {
    up(Liveness::new())
}

/// What a machine answers, with times in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Asleep(f64),
    Ping,
    Dead,
}

fn look(heartbeat: &mut Heartbeat, at: f64) -> Does {
    match heartbeat.poll(s(at)) {
        Pulse::Sleep(until) => Asleep(until.as_secs_f64()),
        Pulse::Ping => Ping,
        Pulse::Dead => Dead,
    }
}

/// Looks at each of these times, and compares what the machine says.
#[track_caller]
fn says(heartbeat: &mut Heartbeat, table: &[(f64, Does)]) {
    for &(at, expected) in table {
        assert_eq!(look(heartbeat, at), expected, "at {at} s");
    }
}

/// Asks the machine whenever it wants to be asked, until `end`. `hears` says when
/// the peer's answer to a ping at a time arrives. Returns the times of the pings, and
/// the time of death.
fn run(
    heartbeat: &mut Heartbeat,
    end: f64,
    mut hears: impl FnMut(f64) -> Option<f64>,
) -> (Vec<f64>, Option<f64>) {
    let (mut now, mut answer, mut pings) = (0.0, None, Vec::new());
    while now <= end {
        match look(heartbeat, now) {
            Ping => {
                pings.push(now);
                answer = hears(now);
            }
            Dead => return (pings, Some(now)),
            Asleep(until) => match answer.take().filter(|&at| at <= until) {
                Some(at) => {
                    heartbeat.heard(s(at));
                    now = at;
                }
                None => now = until,
            },
        }
    }
    (pings, None)
}

#[test]
fn l1_the_time_for_the_answer_runs_from_when_the_machine_asks() {
    // The ping is never written, so nothing is told to the machine.
    says(
        &mut defaults(),
        &[
            (0.0, Asleep(25.0)),
            (25.0, Ping),
            (25.0, Asleep(40.0)),
            (40.0, Dead),
        ],
    );
}

#[test]
fn l2_an_answer_that_is_read_late_counts_if_it_is_told_before_the_look() {
    let mut heartbeat = defaults();
    says(&mut heartbeat, &[(25.0, Ping)]);
    heartbeat.heard(seconds(70));
    says(&mut heartbeat, &[(70.0, Asleep(95.0)), (95.0, Ping)]);
}

#[test]
fn l3_what_is_sent_is_no_sign_of_life() {
    let mut heartbeat = defaults();
    for second in 0..25 {
        heartbeat.sent(seconds(second));
    }
    says(&mut heartbeat, &[(25.0, Ping)]);
    heartbeat.sent(seconds(26));
    says(&mut heartbeat, &[(39.9, Asleep(40.0)), (40.0, Dead)]);
}

#[test]
fn l4_anything_received_counts() {
    let mut heartbeat = defaults();
    heartbeat.heard(seconds(24));
    says(&mut heartbeat, &[(25.0, Asleep(49.0)), (49.0, Ping)]);
    // No pong ever, but one item just before the end.
    heartbeat.heard(s(63.9));
    says(&mut heartbeat, &[(64.0, Asleep(88.9)), (88.9, Ping)]);
}

#[test]
fn l6_what_comes_in_does_not_keep_the_client_from_speaking() {
    let mut heartbeat = up(Liveness::new().speak_every(seconds(60)));
    let mut pings = Vec::new();
    for tenth in 0..3600 {
        let now = tenth as f64 / 10.0;
        heartbeat.heard(s(now));
        if look(&mut heartbeat, now) == Ping {
            pings.push(now);
        }
    }
    assert_eq!(pings, [60.0, 120.0, 180.0, 240.0, 300.0]);
}

#[test]
fn l6_what_the_program_sends_moves_the_time_to_speak() {
    let mut heartbeat = up(Liveness::new().speak_every(seconds(20)));
    heartbeat.sent(seconds(15));
    heartbeat.heard(seconds(15));
    says(&mut heartbeat, &[(20.0, Asleep(35.0)), (35.0, Ping)]);
}

#[test]
fn l6_a_ping_that_only_speaks_gives_no_shorter_notice() {
    let mut heartbeat = up(Liveness::new().speak_every(seconds(10)));
    says(
        &mut heartbeat,
        &[
            (10.0, Ping),
            (10.0, Asleep(40.0)),
            (39.9, Asleep(40.0)),
            (40.0, Dead),
        ],
    );
}

#[test]
fn l7_doubt_pings_at_once_and_gives_five_seconds() {
    let mut heartbeat = defaults();
    heartbeat.doubt(seconds(3));
    says(
        &mut heartbeat,
        &[(3.0, Ping), (3.0, Asleep(8.0)), (8.0, Dead)],
    );
    let mut answered = defaults();
    answered.doubt(seconds(3));
    says(&mut answered, &[(3.0, Ping)]);
    answered.heard(s(3.2));
    says(&mut answered, &[(3.2, Asleep(28.2)), (28.2, Ping)]);
}

#[test]
fn l7_doubt_shortens_the_time_of_a_ping_that_is_out_and_never_extends_it() {
    let mut heartbeat = defaults();
    says(&mut heartbeat, &[(25.0, Ping)]);
    heartbeat.doubt(seconds(27));
    says(&mut heartbeat, &[(27.0, Asleep(32.0))]);
    heartbeat.doubt(seconds(31));
    says(&mut heartbeat, &[(31.0, Asleep(32.0)), (32.0, Dead)]);
}

#[test]
fn l7_doubt_after_the_time_for_the_answer_pings_once_more() {
    let mut heartbeat = defaults();
    says(&mut heartbeat, &[(25.0, Ping)]);
    // The device slept in between, so the deadline passes just at the first look.
    heartbeat.doubt(s(40.1));
    says(&mut heartbeat, &[(40.1, Ping), (45.1, Dead)]);
}

#[test]
fn l7_what_was_received_before_a_doubt_does_not_dispel_it() {
    let mut heartbeat = defaults();
    heartbeat.doubt(seconds(3));
    heartbeat.heard(seconds(3)); // it may have waited in the buffer
    says(&mut heartbeat, &[(3.0, Ping)]);
}

#[test]
fn c3_a_burst_of_changes_of_the_network_leads_to_two_pings() {
    let mut heartbeat = defaults();
    let mut pings = Vec::new();
    for i in 0..100 {
        let now = f64::from(i) * 0.04;
        heartbeat.doubt(s(now));
        if look(&mut heartbeat, now) == Ping {
            pings.push(now);
            heartbeat.heard(s(now + 0.01));
        }
    }
    says(&mut heartbeat, &[(4.0, Asleep(5.0)), (5.0, Ping)]);
    assert_eq!(pings, [0.0]);
}

#[test]
fn l8_a_look_that_comes_late_pings_once_more_before_it_gives_up() {
    says(
        &mut defaults(),
        &[(60.0, Ping), (120.0, Ping), (180.0, Dead)],
    );
    says(&mut defaults(), &[(300.0, Ping)]);
    // A second late is late, and a moment is not.
    says(&mut defaults(), &[(25.0, Ping), (40.9, Dead)]);
    says(
        &mut defaults(),
        &[
            (25.0, Ping),
            (41.0, Ping),
            (41.0, Asleep(46.0)),
            (46.0, Dead),
        ],
    );
    let mut short = up(Liveness::new().grace(seconds(2)));
    says(
        &mut short,
        &[(25.0, Ping), (60.0, Ping), (60.0, Asleep(62.0))],
    );
}

#[test]
fn l8_each_silence_has_its_own_second_ping() {
    let mut heartbeat = defaults();
    says(&mut heartbeat, &[(25.0, Ping), (70.0, Ping)]);
    heartbeat.heard(seconds(71));
    says(
        &mut heartbeat,
        &[(96.0, Ping), (140.0, Ping), (145.0, Dead)],
    );
}

#[test]
fn l8_a_late_look_without_pings_looks_once_more() {
    let listens = || up(Liveness::listen_only(seconds(60)));
    says(&mut listens(), &[(0.0, Asleep(60.0)), (60.0, Dead)]);
    says(&mut listens(), &[(90.0, Asleep(95.0)), (95.0, Dead)]);
    let mut alive = listens();
    says(&mut alive, &[(90.0, Asleep(95.0))]);
    alive.heard(seconds(91));
    says(&mut alive, &[(95.0, Asleep(151.0)), (151.0, Dead)]);
}

#[test]
fn l9_and_l18_the_clock_of_a_connection_starts_when_it_is_up() {
    // The handshake took 50 s of the caller's clock.
    let mut heartbeat = Heartbeat::from_seed(exact(Liveness::new()), 1, seconds(50));
    says(
        &mut heartbeat,
        &[(50.0, Asleep(75.0)), (75.0, Ping), (90.0, Dead)],
    );
    // The next connection knows nothing of the ping that was out.
    let mut next = Heartbeat::from_seed(exact(Liveness::new()), 1, seconds(91));
    says(
        &mut next,
        &[
            (91.0, Asleep(116.0)),
            (116.0, Ping),
            (130.9, Asleep(131.0)),
            (131.0, Dead),
        ],
    );
}

#[test]
fn l10_at_most_one_ping_is_out() {
    let mut heartbeat = up(Liveness::new().idle(seconds(2)).grace(seconds(60)));
    assert_eq!(
        run(&mut heartbeat, 1e4, |_| None),
        (Vec::from([2.0]), Some(62.0))
    );
    let mut both = up(Liveness::new().speak_every(seconds(5)).grace(seconds(60)));
    assert_eq!(
        run(&mut both, 1e4, |_| None),
        (Vec::from([5.0]), Some(85.0))
    );
}

#[test]
fn l10_a_thousand_answered_pings_lead_to_one_more() {
    let mut heartbeat = defaults();
    let (mut answered, mut unasked) = (0, 0);
    let (pings, dead) = run(&mut heartbeat, 1e6, |now| {
        answered += 1;
        (answered <= 1000).then_some(now + 0.125)
    });
    assert_eq!((pings.len(), dead), (1001, Some(pings[1000] + 15.0)));
    let mut heartbeat = defaults();
    for second in 0..1000 {
        heartbeat.heard(seconds(second)); // pongs that nobody asked for
        unasked += u32::from(look(&mut heartbeat, second as f64) == Ping);
    }
    assert_eq!(unasked, 0);
}

#[test]
fn l15_pings_that_are_answered_by_what_does_not_count_end_the_connection() {
    // The caller does not tell of pongs.
    assert_eq!(
        run(&mut defaults(), 1e4, |_| None),
        (Vec::from([25.0]), Some(40.0))
    );
}

#[test]
fn l17_a_write_that_moves_counts_until_it_stops() {
    let mut heartbeat = defaults();
    for second in 0..2000 {
        heartbeat.heard(seconds(second)); // some bytes of the buffer were acknowledged
        assert!(matches!(look(&mut heartbeat, second as f64), Asleep(_)));
    }
    says(&mut heartbeat, &[(2024.0, Ping), (2039.0, Dead)]);
}

#[test]
fn l20_the_longest_times_never_come() {
    let never = Asleep(Duration::MAX.as_secs_f64());
    let mut no_pings = up(Liveness::new().idle(Duration::MAX));
    says(&mut no_pings, &[(0.0, never), (1e9, never)]);
    let mut listens = up(Liveness::listen_only(Duration::MAX));
    says(&mut listens, &[(0.0, never), (1e9, never)]);
    let mut patient = up(Liveness::new().grace(Duration::MAX));
    says(&mut patient, &[(25.0, Ping), (25.0, never), (1e9, never)]);
    let mut speaks = up(Liveness::new().idle(Duration::MAX).speak_every(seconds(60)));
    says(&mut speaks, &[(60.0, Ping), (60.0, never), (1e9, never)]);
    for days in [25, 50] {
        let idle = seconds(days * 24 * 3600);
        let mut heartbeat = up(Liveness::new().idle(idle));
        let due = idle.as_secs_f64();
        says(
            &mut heartbeat,
            &[(0.0, Asleep(due)), (due - 1.0, Asleep(due)), (due, Ping)],
        );
    }
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut heartbeat = defaults();
    heartbeat.heard(seconds(100));
    heartbeat.heard(seconds(50));
    says(
        &mut heartbeat,
        &[(60.0, Asleep(125.0)), (125.0, Ping), (60.0, Asleep(140.0))],
    );
    assert_eq!(heartbeat.silent_for(seconds(60)), seconds(25));
}

#[test]
fn the_silence_counts_from_what_was_heard_last() {
    let mut heartbeat = defaults();
    heartbeat.heard(seconds(10));
    assert_eq!(heartbeat.silent_for(seconds(50)), seconds(40));
}

#[test]
fn scenario_1_the_late_look() {
    let mut read = defaults();
    says(&mut read, &[(0.0, Asleep(25.0)), (25.0, Ping)]);
    read.heard(seconds(70)); // the pong of 25.1 s, which is read now
    says(&mut read, &[(70.0, Asleep(95.0))]);
    says(&mut defaults(), &[(25.0, Ping), (70.0, Ping), (75.0, Dead)]);
    says(
        &mut defaults(),
        &[(25.0, Ping), (70.0, Ping), (130.0, Dead)],
    );
}

#[test]
fn scenario_2_the_listener_that_must_speak() {
    // The server cuts who has sent nothing for 90 s.
    let mut heartbeat = up(Liveness::new().speak_every(seconds(60)));
    let mut pings = Vec::new();
    for tenth in 0..36_000 {
        let now = tenth as f64 / 10.0;
        // The pong to the ping of 60 s comes at 100 s, and is one item of many.
        heartbeat.heard(s(now));
        if look(&mut heartbeat, now) == Ping {
            pings.push(now);
        }
    }
    assert_eq!(pings.len(), 59);
    assert!(
        pings
            .iter()
            .enumerate()
            .all(|(i, &ping)| (ping - 60.0 * (i + 1) as f64).abs() < 1e-9),
        "{pings:?}"
    );
}

#[test]
fn scenario_3_the_long_sleep() {
    // Monotonic times: 0 heard, asleep at 5, a doubt 1 s after waking.
    let doubted = || {
        let mut heartbeat = defaults();
        says(&mut heartbeat, &[(0.0, Asleep(25.0))]);
        heartbeat.doubt(seconds(6));
        says(&mut heartbeat, &[(6.0, Ping)]);
        heartbeat
    };
    let mut answered = doubted();
    answered.heard(s(6.2));
    says(&mut answered, &[(6.2, Asleep(31.2)), (11.0, Asleep(31.2))]);
    says(&mut doubted(), &[(6.0, Asleep(11.0)), (11.0, Dead)]);
    // Nobody tells of the sleep: the next timer finds it, 20 s after waking.
    let mut found = defaults();
    found.doubt(seconds(25));
    says(
        &mut found,
        &[(25.0, Ping), (25.0, Asleep(30.0)), (30.0, Dead)],
    );
}

#[test]
fn scenario_4_the_big_item() {
    let trickle = |heartbeat: &mut Heartbeat, from: u64, to: u64| {
        for second in from..=to {
            heartbeat.heard(seconds(second));
            assert!(
                matches!(look(heartbeat, second as f64), Asleep(_)),
                "at {second} s"
            );
        }
    };
    let mut steady = defaults();
    trickle(&mut steady, 0, 120);
    let mut pauses = defaults();
    trickle(&mut pauses, 0, 10);
    says(&mut pauses, &[(35.0, Ping)]);
    trickle(&mut pauses, 45, 120);
    let mut stops = defaults();
    trickle(&mut stops, 0, 60);
    says(&mut stops, &[(85.0, Ping), (100.0, Dead)]);
    // If only whole items are counted.
    says(&mut defaults(), &[(25.0, Ping), (40.0, Dead)]);
}
