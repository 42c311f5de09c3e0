//! The rule about several servers, fact by fact, and under any order of events.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

use super::{Cause, Duration, End, Judged, Rng, Roster, Verdict};

const DOWN: Verdict = Verdict::Retry(Cause::Down);
const BUSY: Verdict = Verdict::Retry(Cause::Busy);
const STALLED: Verdict = Verdict::Retry(Cause::Stalled);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn elsewhere(verdict: Verdict) -> Judged {
    Judged {
        is_elsewhere: true,
        ..verdict.into()
    }
}

/// A roster with its generator, at a time that only the test moves.
struct Client {
    roster: Roster,
    rng: Rng,
    now: Duration,
}

impl Client {
    fn new(servers: usize) -> Self {
        Self::seeded(servers, 7)
    }

    fn seeded(servers: usize, seed: u64) -> Self {
        let mut rng = Rng::from_seed(seed);
        Self {
            roster: Roster::new(servers, &mut rng),
            rng,
            now: Duration::ZERO,
        }
    }

    fn next(&mut self) -> Option<usize> {
        let has_next = self.roster.has_next(self.now);
        let next = self.roster.next(self.now);
        assert_eq!(next.is_some(), has_next);
        next
    }

    fn failed(&mut self, server: usize, judged: impl Into<Judged>) -> bool {
        self.roster.failed(server, judged.into(), self.now)
    }

    fn lost(&mut self, end: End) -> Verdict {
        self.roster.lost(end, self.now)
    }

    /// A round in which each server answers so. Returns who was tried, and what the round
    /// means.
    fn round(&mut self, mut answer: impl FnMut(usize) -> Judged) -> (Vec<usize>, Verdict) {
        let mut tried = Vec::new();
        self.roster.begin(self.now);
        while let Some(server) = self.next() {
            tried.push(server);
            let judged = answer(server);
            if !self.failed(server, judged) {
                assert_eq!(self.next(), None);
            }
        }
        (tried, self.roster.verdict(self.now))
    }

    /// The order of a round in which nobody answers.
    fn order(&mut self) -> Vec<usize> {
        self.round(|_| DOWN.into()).0
    }

    /// Connects to the first server that is tried.
    fn connect(&mut self) -> usize {
        self.roster.begin(self.now);
        let server = self.next().unwrap();
        self.roster.connected(server);
        server
    }
}

fn sorted(mut servers: Vec<usize>) -> Vec<usize> {
    servers.sort_unstable();
    servers
}

#[test]
fn a_round_after_down_tries_each_server_once_and_counts_as_one_failure() {
    let mut client = Client::new(5);
    let (tried, verdict) = client.round(|_| DOWN.into());
    assert_eq!(sorted(tried.clone()), [0, 1, 2, 3, 4]);
    assert_eq!(verdict, DOWN);
    // And so does the next one, in the same order.
    assert_eq!(client.order(), tried);
}

#[test]
fn busy_and_stalled_end_the_round_and_the_next_one_begins_with_the_next_server() {
    for verdict in [BUSY, STALLED] {
        let mut client = Client::new(5);
        let order = client.order();
        assert_eq!(client.round(|_| verdict.into()), (vec![order[0]], verdict));
        assert_eq!(client.order()[0], order[1]);
    }
}

#[test]
fn a_stop_ends_the_round_and_is_its_verdict() {
    let mut client = Client::new(3);
    let order = client.order();
    let stops = order[1];
    let (tried, verdict) = client.round(|server| {
        if server == stops {
            Verdict::Stop.into()
        } else {
            DOWN.into()
        }
    });
    assert_eq!((tried, verdict), (order[..2].to_vec(), Verdict::Stop));
}

#[test]
fn first_choices_of_ten_thousand_clients_are_spread_evenly() {
    let mut first = [0; 5];
    for seed in 0..10_000 {
        first[Client::seeded(5, seed).order()[0]] += 1;
    }
    // 2 000 each; five deviations of a binomial are 200.
    assert!(
        first.iter().all(|n| (1_800..=2_200).contains(n)),
        "{first:?}"
    );
}

#[test]
fn each_client_keeps_its_own_order() {
    let orders: Vec<_> = (0..50)
        .map(|seed| Client::seeded(5, seed).order())
        .collect();
    assert!(orders.iter().any(|order| order != &orders[0]));
    let mut client = Client::seeded(5, 3);
    for _ in 0..10 {
        assert_eq!(client.order(), orders[3]);
    }
}

#[test]
fn no_failure_removes_a_server() {
    let mut client = Client::new(5);
    let mut dialled = [0; 5];
    let mut failures = 0;
    while failures < 10_000 {
        client.roster.begin(client.now);
        while let Some(server) = client.next() {
            dialled[server] += 1;
            failures += 1;
            let verdict = match client.rng.below(10) {
                0 => BUSY,
                1 => STALLED,
                _ => DOWN,
            };
            client.failed(server, verdict);
        }
        client.now += secs(1);
    }
    assert!(
        dialled.iter().all(|n| (1_900..=2_100).contains(n)),
        "{dialled:?}"
    );
}

// ---- hints

#[test]
fn a_hint_binds_the_server_that_gave_it_and_not_the_others() {
    let mut client = Client::new(3);
    let order = client.order();
    let (tried, verdict) = client.round(|_| Verdict::RetryAfter(secs(60)).into());
    // For the others it is a busy server's answer, and the policy's wait follows.
    assert_eq!((tried, verdict), (vec![order[0]], BUSY));
    for second in 1..60 {
        client.now = secs(second);
        assert_eq!(client.order(), [order[1], order[2]]);
    }
    // Nothing is added, because the wait before a round is spread.
    client.now = secs(60);
    assert_eq!(sorted(client.order()), [0, 1, 2]);
}

#[test]
fn a_client_waits_for_the_first_server_if_all_are_bound() {
    let mut client = Client::new(2);
    let order = client.order();
    client.round(|_| Verdict::Slot(secs(30)).into());
    client.now = secs(10);
    let (tried, verdict) = client.round(|_| Verdict::Slot(secs(50)).into());
    assert_eq!(tried, [order[1]]);
    assert_eq!(verdict, Verdict::Slot(secs(20)));
    client.now = secs(30);
    assert_eq!(client.order(), [order[0]]);
}

#[test]
fn a_hint_for_all_is_a_hint_to_retry_after() {
    let mut client = Client::new(2);
    client.round(|_| Verdict::RetryAfter(secs(30)).into());
    client.now = secs(10);
    let (_, verdict) = client.round(|_| Verdict::RetryAfter(secs(90)).into());
    // As one server would say it: the outage adds the spread.
    assert_eq!(verdict, Verdict::RetryAfter(secs(20)));
}

#[test]
fn a_round_that_a_person_asks_for_tries_the_server_that_is_bound_for_the_shortest_time() {
    let mut client = Client::new(2);
    let order = client.order();
    client.round(|_| Verdict::Slot(secs(50)).into());
    client.round(|_| Verdict::Slot(secs(20)).into());
    let (tried, verdict) = client.round(|_| DOWN.into());
    assert_eq!((tried, verdict), (vec![order[1]], Verdict::Slot(secs(20))));
}

#[test]
fn a_hint_of_the_only_server_is_as_if_there_was_no_list() {
    let mut client = Client::new(1);
    for verdict in [
        Verdict::RetryAfter(secs(9)),
        Verdict::Slot(secs(9)),
        BUSY,
        STALLED,
        DOWN,
        Verdict::Stop,
    ] {
        assert_eq!(client.round(|_| verdict.into()), (vec![0], verdict));
        assert_eq!(client.round(|_| elsewhere(verdict)), (vec![0], verdict));
        client.connect();
        assert_eq!(client.lost(End::Theirs(elsewhere(verdict))), verdict);
    }
}

#[test]
fn a_hint_about_the_client_itself_binds_all_servers() {
    let mut client = Client::new(3);
    let hint = Verdict::RetryAfter(secs(30));
    let judged = Judged {
        is_for_all: true,
        ..hint.into()
    };
    let (tried, verdict) = client.round(|_| judged);
    assert_eq!((tried.len(), verdict), (1, hint));
    client.connect();
    assert_eq!(client.lost(End::Theirs(judged)), hint);
}

// ---- elsewhere

#[test]
fn a_server_that_sends_the_client_elsewhere_does_not_end_the_round_whatever_it_costs() {
    for verdict in [
        DOWN,
        BUSY,
        STALLED,
        Verdict::RetryAfter(secs(5)),
        Verdict::Stop,
    ] {
        let mut client = Client::new(3);
        let order = client.order();
        let master = order[2];
        client.roster.begin(client.now);
        for &server in &order[..2] {
            assert_eq!(client.next(), Some(server));
            assert!(client.failed(server, elsewhere(verdict)));
        }
        assert_eq!(client.next(), Some(master));
        client.roster.connected(master);
    }
}

#[test]
fn a_round_is_judged_by_its_other_failures_if_a_server_sends_the_client_elsewhere() {
    let mut client = Client::new(3);
    let standby = client.order()[0];
    let answer = |verdict| {
        move |server| {
            if server == standby {
                elsewhere(verdict)
            } else {
                DOWN.into()
            }
        }
    };
    assert_eq!(client.round(answer(BUSY)).1, DOWN);
    assert_eq!(client.round(answer(Verdict::Stop)).1, DOWN);
    // If all say so, it counts.
    assert_eq!(client.round(|_| elsewhere(BUSY)).1, BUSY);
    assert_eq!(client.round(|_| elsewhere(Verdict::Stop)).1, Verdict::Stop);
}

#[test]
fn a_server_that_sends_the_client_elsewhere_is_last_for_thirty_seconds() {
    let mut client = Client::new(3);
    let order = client.order();
    assert_eq!(client.connect(), order[0]);
    client.now = secs(100);
    client.lost(End::Theirs(elsewhere(DOWN)));
    for second in [100, 110, 129] {
        client.now = secs(second);
        assert_eq!(client.order(), [order[1], order[2], order[0]]);
    }
    client.now = secs(130);
    assert_eq!(client.order(), [order[1], order[2], order[0]]);
    client.round(|_| BUSY.into());
    assert_eq!(client.order(), [order[2], order[0], order[1]]);
}

#[test]
fn a_server_that_sends_the_client_elsewhere_is_last_for_one_round_however_late_it_is() {
    let mut client = Client::new(3);
    let order = client.order();
    client.connect();
    client.lost(End::Theirs(elsewhere(DOWN)));
    client.now = secs(600);
    assert_eq!(client.round(|_| BUSY.into()).0, [order[1]]);
    assert_eq!(client.order(), [order[2], order[0], order[1]]);
}

// ---- losses

#[test]
fn a_server_that_ended_its_connection_is_the_last_of_the_next_round() {
    for verdict in [DOWN, BUSY, STALLED] {
        let mut client = Client::new(4);
        let order = client.order();
        assert_eq!(client.connect(), order[0]);
        assert_eq!(client.lost(End::Theirs(verdict.into())), verdict);
        assert_eq!(client.order(), [order[1], order[2], order[3], order[0]]);
    }
}

#[test]
fn a_stable_server_is_first_after_an_end_on_the_clients_side() {
    let mut client = Client::new(4);
    let order = client.order();
    assert_eq!(client.connect(), order[0]);
    client.lost(End::Ours { was_stable: true });
    assert_eq!(client.connect(), order[0]);
    // It did not prove itself.
    client.lost(End::Ours { was_stable: false });
    assert_eq!(client.connect(), order[1]);
}

#[test]
fn a_server_that_accepts_and_drops_is_left_for_one_that_works() {
    let mut client = Client::new(2);
    let bad = client.connect();
    client.lost(End::Theirs(DOWN.into()));
    assert_ne!(client.connect(), bad);
}

#[test]
fn a_hint_at_the_end_of_a_connection_binds_its_server_only() {
    let mut client = Client::new(2);
    let order = client.order();
    client.connect();
    assert_eq!(
        client.lost(End::Theirs(Verdict::Slot(secs(60)).into())),
        BUSY
    );
    assert_eq!(client.order(), [order[1]]);
}

#[test]
fn a_stop_of_a_server_that_sends_the_client_elsewhere_is_none_while_there_are_others() {
    let mut client = Client::new(2);
    client.connect();
    let end = End::Theirs(elsewhere(Verdict::Stop));
    assert_eq!(client.lost(end), BUSY);
    client.connect();
    assert_eq!(
        client.lost(End::Theirs(Verdict::Stop.into())),
        Verdict::Stop
    );
}

// ---- another list

#[test]
fn a_server_on_both_lists_keeps_its_place_and_its_history() {
    let mut client = Client::new(5);
    let order = client.order();
    client.round(|_| Verdict::Slot(secs(60)).into());
    // All but two leave, and these change their numbers.
    let mut became = [None; 5];
    (became[order[0]], became[order[3]]) = (Some(1), Some(0));
    client.roster.replace(&became, 2, &mut client.rng);
    assert_eq!(client.order(), [0]);
    client.now = secs(60);
    assert_eq!(client.order(), [1, 0]);
}

#[test]
fn the_server_of_the_connection_stays_first_or_last_whatever_the_list() {
    for seed in 0..100 {
        for was_stable in [false, true] {
            let mut client = Client::seeded(1, seed);
            client.connect();
            let replace = |client: &mut Client| {
                client.roster.replace(&[Some(1)], 5, &mut client.rng);
            };
            let end = if was_stable {
                End::Ours { was_stable }
            } else {
                End::Theirs(BUSY.into())
            };
            if seed % 2 == 0 {
                replace(&mut client);
                client.lost(end);
            } else {
                client.lost(end);
                replace(&mut client);
            }
            let order = client.order();
            let place = order.iter().position(|&server| server == 1).unwrap();
            if was_stable {
                assert_eq!(place, 0);
            } else if seed % 2 == 0 {
                assert_eq!(place, 4);
            }
        }
    }
}

#[test]
fn new_servers_get_their_share_of_first_choices() {
    let mut first = [0; 5];
    for seed in 0..10_000 {
        let mut client = Client::seeded(2, seed);
        let became = [Some(3), Some(0)];
        client.roster.replace(&became, 5, &mut client.rng);
        first[client.order()[0]] += 1;
    }
    // As above.
    assert!(
        first.iter().all(|n| (1_800..=2_200).contains(n)),
        "{first:?}"
    );
}

#[test]
fn the_end_of_a_connection_to_a_removed_server_blames_no_other() {
    let mut client = Client::new(2);
    let server = client.connect();
    let mut became = [Some(0); 2];
    became[server] = None;
    client.roster.replace(&became, 1, &mut client.rng);
    let verdict = client.lost(End::Theirs(Verdict::RetryAfter(secs(60)).into()));
    assert_eq!(verdict, BUSY);
    assert_eq!(client.order(), [0]);
}

#[test]
fn servers_that_appear_in_a_round_are_tried_in_it() {
    let mut client = Client::new(1);
    client.roster.begin(client.now);
    assert_eq!(client.next(), Some(0));
    client.roster.replace(&[Some(1)], 2, &mut client.rng);
    client.failed(1, DOWN);
    assert_eq!(client.next(), Some(0));
}

// ---- any order of events

#[derive(Clone, Debug)]
enum Step {
    /// A round, in which the servers answer so, one after the other.
    Round(Vec<Answer>),
    /// The connection ends, if there is one.
    End(Answer, bool),
    /// Another list: the old servers that stay, and how many new ones there are.
    Replace(Vec<bool>, usize),
    Pass(u64),
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Connected,
    Failed(Verdict, bool),
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        6 => Just(DOWN),
        1 => Just(BUSY),
        1 => Just(STALLED),
        1 => (0..100u64).prop_map(|after| Verdict::RetryAfter(secs(after))),
        1 => (0..100u64).prop_map(|after| Verdict::Slot(secs(after))),
        1 => Just(Verdict::Stop),
    ]
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        1 => Just(Answer::Connected),
        6 => (verdicts(), any::<bool>()).prop_map(|(verdict, elsewhere)| {
            Answer::Failed(verdict, elsewhere)
        }),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(answers(), 1..8).prop_map(Step::Round),
        2 => (answers(), any::<bool>()).prop_map(|(answer, ours)| Step::End(answer, ours)),
        1 => (prop::collection::vec(any::<bool>(), 8), 1..4usize)
            .prop_map(|(stay, new)| Step::Replace(stay, new)),
        2 => (0..200u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// No server is tried twice in a round or before its time, none that could be tried is
    /// left out, and none is lost.
    #[test]
    fn each_round_tries_each_server_at_most_once_and_forgets_none(
        seed: u64,
        servers in 1..6usize,
        steps in prop::collection::vec(steps(), 1..40),
    ) {
        let mut client = Client::seeded(servers, seed);
        let mut servers = servers;
        let mut bound = vec![Duration::ZERO; servers];
        let mut connection = None;
        for step in steps {
            match step {
                Step::Round(answers) => {
                    let mut answers = answers.into_iter().cycle();
                    let mut tried = Vec::new();
                    connection = None;
                    let mut entries = client.roster.entries.iter();
                    let may_wait = entries.all(|entry| entry.is_bound(client.now));
                    client.roster.begin(client.now);
                    let mut goes_on = true;
                    let mut stops = 0;
                    while let Some(server) = client.next() {
                        prop_assert!(goes_on && server < servers && !tried.contains(&server));
                        prop_assert!(client.now >= bound[server] || (may_wait && tried.is_empty()));
                        tried.push(server);
                        match answers.next().unwrap() {
                            Answer::Connected => {
                                client.roster.connected(server);
                                connection = Some(server);
                                goes_on = false;
                                break;
                            }
                            Answer::Failed(verdict, is_elsewhere) => {
                                if let Verdict::RetryAfter(hint) | Verdict::Slot(hint) = verdict {
                                    bound[server] = client.now + hint;
                                }
                                stops += (verdict == Verdict::Stop) as usize;
                                goes_on = client.failed(server, Judged { is_elsewhere, ..verdict.into() });
                                let moves_on = verdict == DOWN || (is_elsewhere && servers > 1);
                                prop_assert_eq!(goes_on, moves_on);
                            }
                        }
                    }
                    prop_assert!(!tried.is_empty());
                    if goes_on && !may_wait {
                        for server in (0..servers).filter(|it| !tried.contains(it)) {
                            let entry = client.roster.place(server).unwrap();
                            prop_assert!(client.roster.entries[entry].is_bound(client.now));
                        }
                    }
                    if connection.is_none() {
                        let verdict = client.roster.verdict(client.now);
                        prop_assert!(verdict != Verdict::Stop || stops > 0);
                    }
                    if servers == 1 {
                        bound[0] = Duration::ZERO;
                    }
                }
                Step::End(answer, ours) => {
                    let Some(server) = connection.take() else { continue };
                    let end = match answer {
                        Answer::Failed(verdict, is_elsewhere) if !ours => {
                            if let Verdict::RetryAfter(hint) | Verdict::Slot(hint) = verdict {
                                if servers > 1 && server < servers {
                                    bound[server] = client.now + hint;
                                }
                            }
                            End::Theirs(Judged { is_elsewhere, ..verdict.into() })
                        }
                        _ => End::Ours { was_stable: ours },
                    };
                    client.lost(end);
                }
                Step::Replace(stay, new) => {
                    let mut kept = 0;
                    let became: Vec<_> = (0..servers)
                        .map(|server| {
                            stay[server % 8].then(|| {
                                kept += 1;
                                kept - 1
                            })
                        })
                        .collect();
                    let mut later = vec![Duration::ZERO; kept + new];
                    for (server, number) in became.iter().enumerate() {
                        if let Some(number) = number {
                            later[*number] = bound[server];
                        }
                    }
                    connection = connection.and_then(|server| became[server]);
                    (bound, servers) = (later, kept + new);
                    client.roster.replace(&became, servers, &mut client.rng);
                }
                Step::Pass(seconds) => client.now += secs(seconds),
            }
            prop_assert_eq!(client.roster.entries.len(), servers);
        }
    }
}
