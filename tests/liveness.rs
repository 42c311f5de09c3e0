//! Does the machine of liveness keep its promises, whatever happens in which order?
//!
//! The rules one by one, without jitter, are in `src/liveness/rules.rs`.

use std::time::Duration;

use proptest::prelude::*;
use redial::{Heartbeat, Liveness, Pulse};

const SECOND: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(25);
const GRACE: Duration = Duration::from_secs(15);
/// After this a look is late.
const LATE: Duration = Duration::from_secs(1);
/// The time for the answer of a connection that is doubted.
const DOUBT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
enum Happens {
    Heard,
    Sent,
    Doubt,
    /// The machine is asked before the instant that it named.
    EarlyLook,
    /// It is asked so many milliseconds after that instant.
    Look {
        late: u64,
    },
}

fn happens() -> impl Strategy<Value = (u64, Happens)> {
    let event = prop_oneof![
        2 => Just(Happens::Heard),
        1 => Just(Happens::Sent),
        1 => Just(Happens::Doubt),
        2 => Just(Happens::EarlyLook),
        6 => Just(Happens::Look { late: 0 }),
        1 => (0_u64..1000).prop_map(|late| Happens::Look { late }),
        2 => (1000_u64..100_000).prop_map(|late| Happens::Look { late }),
    ];
    (prop_oneof![Just(0), 1_u64..2000, 1_u64..60_000], event)
}

#[derive(Clone, Copy)]
struct Out {
    asked: Duration,
    /// It was asked in doubt, or its time was cut by one.
    short: bool,
}

/// Checks each answer of a machine against what has happened, without a look inside.
struct Witness {
    heartbeat: Heartbeat,
    now: Duration,
    heard: Duration,
    spoke: Duration,
    speak: Option<Duration>,
    pings: bool,
    ever_pinged: bool,
    out: Option<Out>,
    second: bool,
    doubted: bool,
    /// What the machine named last.
    until: Duration,
    /// Something has happened since that may have changed it.
    stale: bool,
    /// An instant that it named in this silence was missed.
    missed: bool,
}

impl Witness {
    fn new(liveness: Liveness, speak: Option<Duration>, pings: bool, seed: u64) -> Self {
        let now = Duration::from_secs(1000);
        Self {
            heartbeat: Heartbeat::from_seed(liveness, seed, now),
            now,
            heard: now,
            spoke: now,
            speak,
            pings,
            ever_pinged: false,
            out: None,
            second: false,
            doubted: false,
            until: now,
            stale: true,
            missed: false,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.missed |= self.now > self.until;
    }

    /// False once the connection is dead.
    fn happens(&mut self, after: Duration, event: Happens) -> bool {
        match event {
            Happens::Look { late } if self.until != Duration::MAX => {
                self.now = self.now.max(self.until);
                self.pass(Duration::from_millis(late));
                return self.look();
            }
            Happens::Look { .. } => return self.look(),
            Happens::EarlyLook => {
                self.now = (self.now + after).min(self.until.max(self.now));
                return self.look();
            }
            Happens::Heard => {
                self.pass(after);
                self.heartbeat.heard(self.now);
                (self.heard, self.out) = (self.now, None);
                (self.second, self.missed) = (false, false);
                // The next answer names another one.
                self.until = self.now;
            }
            Happens::Sent => {
                self.pass(after);
                self.heartbeat.sent(self.now);
                self.spoke = self.now;
            }
            Happens::Doubt => {
                self.pass(after);
                self.heartbeat.doubt(self.now);
                if let Some(out) = &mut self.out {
                    out.short = true;
                }
                self.doubted = true;
                self.until = self.now.min(self.until);
                self.stale = true;
            }
        }
        true
    }

    fn look(&mut self) -> bool {
        let silent = self.now - self.heard;
        assert_eq!(self.heartbeat.silent_for(self.now), silent);
        match self.heartbeat.poll(self.now) {
            Pulse::Sleep(until) => {
                assert!(until > self.now, "it would be asked without end");
                if !self.missed {
                    assert!(until <= self.heard + IDLE + GRACE, "silent for too long");
                }
                self.until = until;
                self.stale = false;
            }
            Pulse::Ping => {
                assert!(self.pings);
                let late = self.now >= self.until + LATE;
                if let Some(out) = self.out {
                    assert!(!self.second, "three pings in one silence");
                    assert!(late || out.short, "two pings are out");
                    assert!(self.now >= out.asked + DOUBT);
                    self.second = true;
                } else {
                    let least = if self.ever_pinged {
                        IDLE * 4 / 5
                    } else {
                        IDLE / 2
                    };
                    let speaks = self.speak.is_some_and(|d| self.now - self.spoke >= d);
                    assert!(
                        silent >= least || speaks || self.doubted,
                        "a ping for nothing"
                    );
                }
                self.out = Some(Out {
                    asked: self.now,
                    short: self.doubted || self.second,
                });
                (self.spoke, self.ever_pinged, self.doubted) = (self.now, true, false);
                self.until = self.now;
                return self.look();
            }
            Pulse::Dead => {
                if self.pings {
                    let out = self.out.expect("dead without a ping");
                    assert!(self.now >= out.asked + if out.short { DOUBT } else { GRACE });
                    let late = !self.stale && self.now >= self.until + LATE;
                    assert!(self.second || !late, "a late look");
                    if !out.short {
                        assert!(silent >= IDLE / 2 + GRACE);
                    }
                } else {
                    assert!(silent >= IDLE);
                }
                return false;
            }
        }
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_order_of_events_breaks_a_promise(
        events in proptest::collection::vec(happens(), 1..200),
        seed: u64,
        mode in 0..3,
    ) {
        let speak = (mode == 1).then_some(20 * SECOND);
        let liveness = match mode {
            0 => Liveness::new(),
            1 => Liveness::new().speak_every(20 * SECOND),
            _ => Liveness::listen_only(IDLE),
        };
        let mut witness = Witness::new(liveness, speak, mode < 2, seed);
        for (after, event) in events {
            if !witness.happens(Duration::from_millis(after), event) {
                break;
            }
        }
    }
}

/// Asks whenever the machine wants to be asked. Returns the instants of the first
/// pings; each is answered after 100 ms.
fn pings(liveness: Liveness, seed: u64, until: Duration) -> Vec<Duration> {
    let mut heartbeat = Heartbeat::from_seed(liveness, seed, Duration::ZERO);
    let (mut now, mut pings) = (Duration::ZERO, Vec::new());
    while now < until {
        match heartbeat.poll(now) {
            Pulse::Sleep(until) => now = until,
            Pulse::Ping => {
                pings.push(now);
                now += SECOND / 10;
                heartbeat.heard(now);
            }
            Pulse::Dead => panic!("its peer answers"),
        }
    }
    pings
}

#[test]
fn l12_a_limit_of_two_seconds_gets_a_ping_within_one() {
    let announced = 2 * SECOND;
    for seed in 0..100 {
        let pings = pings(Liveness::new().idle(announced / 2), seed, 60 * SECOND);
        assert!(pings[0] <= SECOND);
        let longest = pings.windows(2).map(|two| two[1] - two[0]).max().unwrap();
        assert!(longest <= SECOND + SECOND / 10);
    }
}

#[test]
fn l19_clients_that_came_up_together_do_not_ping_together() {
    const CLIENTS: u64 = 10_000;
    let mut seconds = [0; 60];
    for seed in 0..CLIENTS {
        for ping in pings(Liveness::new(), seed, 60 * SECOND) {
            if let Some(count) = seconds.get_mut(ping.as_secs() as usize) {
                *count += 1;
            }
        }
    }
    // The first pings are uniform over 12.5 s, so a second has 8 % of them. A tenth
    // is seven standard deviations more.
    let most = seconds.iter().max().unwrap();
    assert!(
        *most <= CLIENTS / 10,
        "{most} of {CLIENTS} clients ping in one second"
    );
    assert_eq!(seconds[..12], [0; 12]);
    assert!(seconds[12..25].iter().all(|&count| count > 0));
}

#[test]
fn l19_a_silence_is_never_longer_than_configured() {
    let all = pings(Liveness::new(), 7, Duration::from_secs(1_000_000));
    let mut silences: Vec<_> = all
        .windows(2)
        .map(|two| two[1] - two[0] - SECOND / 10)
        .collect();
    silences.sort_unstable();
    let (first, last) = (silences[0], silences[silences.len() - 1]);
    assert!(
        first >= IDLE * 4 / 5 && last <= IDLE,
        "{first:?} to {last:?}"
    );
    // It uses the whole range, too.
    assert!(
        first < IDLE * 81 / 100 && last > IDLE * 99 / 100,
        "{first:?} to {last:?}"
    );
}

/// A box between client and server forgets a connection that says nothing for 60 s.
/// Returns when the client notices.
fn behind_a_forgetful_box(liveness: Liveness, seed: u64, until: Duration) -> Option<Duration> {
    let mut heartbeat = Heartbeat::from_seed(liveness, seed, Duration::ZERO);
    let (mut now, mut spoken) = (Duration::ZERO, Duration::ZERO);
    while now < until {
        match heartbeat.poll(now) {
            Pulse::Sleep(until) => now = until,
            Pulse::Ping if now - spoken < 60 * SECOND => {
                now += SECOND / 10;
                spoken = now;
                heartbeat.heard(now);
            }
            Pulse::Ping => {}
            Pulse::Dead => return Some(now),
        }
    }
    None
}

#[test]
fn l22_a_listener_keeps_a_box_from_forgetting_or_notices_that_it_has() {
    let hour = 3600 * SECOND;
    for seed in 0..100 {
        assert_eq!(behind_a_forgetful_box(Liveness::new(), seed, hour), None);
        let rare = Liveness::new().idle(90 * SECOND);
        let noticed = behind_a_forgetful_box(rare, seed, hour).expect("it forgets");
        // The first silence may have been short enough.
        assert!(noticed <= 90 * SECOND + 105 * SECOND, "{noticed:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_pings() {
    let of = |seed| pings(Liveness::new(), seed, 1000 * SECOND);
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}
