//! What does a configuration file say, and what does it say wrong?
#![cfg(feature = "config")]

use std::time::Duration;

use proptest::prelude::*;
use redial::{Config, Liveness, Policy, PolicyConfig, Settings, Stratified};
use redial::{Decorrelated, Exponential, Jitter, Sequence};
use serde::de::DeserializeOwned;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Reads a line of TOML, such as `policy = …`.
fn settings(toml: &str) -> Settings {
    toml::from_str(toml).unwrap_or_else(|error| panic!("{error}"))
}

/// What is wrong with a file, without the place.
fn refusal(toml: &str) -> String {
    let refused = toml::from_str::<Settings>(toml).expect_err(toml);
    refused.message().to_owned()
}

fn same_waits(one: &impl Policy, other: &impl Policy) {
    let waits = one.delays_from_seed(7).take(30);
    assert!(waits.eq(other.delays_from_seed(7).take(30)));
}

// ---- what is read

#[test]
fn an_empty_file_is_the_defaults() {
    let read = settings("");
    assert_eq!(read, Settings::default());
    assert_eq!((read.config(), read.keep_alive()), (Config::new(), None));
    same_waits(&read.policy(), &Stratified::default());
}

#[test]
fn each_kind_is_its_policy_with_its_setters() {
    let policy = |toml: &str| settings(&format!("policy = {toml}")).policy();
    same_waits(
        &policy(
            r#"{ kind = "stratified", base = "2s", cap = "50s", growth = 2, busy_cap = "2m", stalled_cap = "1h" }"#,
        ),
        &Stratified::new(secs(2), secs(50))
            .growth(2.0)
            .busy_cap(secs(120))
            .stalled_cap(secs(3600)),
    );
    same_waits(
        &policy(r#"{ kind = "stratified", clients = 100_000, per_second = 1e3 }"#),
        &Stratified::for_fleet(100_000, 1_000),
    );
    same_waits(
        &policy(r#"{ kind = "stratified", cap = "1m" }"#),
        &Stratified::new(secs(1), secs(60)),
    );
    same_waits(
        &policy(
            r#"{ kind = "exponential", base = "500ms", cap = "1m", factor = 1.5, jitter = "equal" }"#,
        ),
        &Exponential::new(Duration::from_millis(500), secs(60))
            .factor(1.5)
            .jitter(Jitter::Equal),
    );
    same_waits(
        &policy(r#"{ kind = "exponential", base = "1s", cap = "1m", jitter = 0.2 }"#),
        &Exponential::new(secs(1), secs(60)).jitter(Jitter::Proportional(0.2)),
    );
    same_waits(
        &policy(r#"{ kind = "decorrelated", base = "1s", cap = "1m" }"#),
        &Decorrelated::new(secs(1), secs(60)),
    );
    same_waits(
        &policy(r#"{ kind = "sequence", waits = ["0s", "2s", "1m 30s"], jitter = "none" }"#),
        &Sequence::new([0, 2, 90].map(secs)).jitter(Jitter::None),
    );
}

#[test]
fn every_limit_can_be_set_and_switched_off() {
    let read = settings(
        r#"
        dial_timeout = "3s"
        attempt_timeout = "20s"
        patience = "2m"
        stable_after = "1m 30s"
        max_attempts = 100
        max_elapsed = "2 days"
        hint_cap = "1.5h"
        "#,
    );
    let config = Config::new()
        .dial_timeout(secs(3))
        .attempt_timeout(secs(20))
        .patience(secs(120))
        .stable_after(secs(90))
        .max_attempts(100)
        .max_elapsed(secs(2 * 24 * 3600))
        .hint_cap(secs(5400));
    assert_eq!(read.config(), config);

    let names = [
        "dial_timeout",
        "attempt_timeout",
        "patience",
        "stable_after",
        "max_attempts",
        "max_elapsed",
        "hint_cap",
    ];
    let off: String = names.map(|name| format!("{name} = \"none\"\n")).concat();
    let config = Config::new()
        .dial_timeout(Duration::MAX)
        .attempt_timeout(Duration::MAX)
        .patience(Duration::MAX)
        .stable_after(Duration::MAX)
        .hint_cap(Duration::MAX);
    assert_eq!(settings(&off).config(), config);
}

#[test]
fn a_keep_alive_pings_or_only_listens() {
    let read = settings(r#"keep_alive = { idle = "30s", grace = "5s", speak_every = "1m" }"#);
    let pings = Liveness::new()
        .idle(secs(30))
        .grace(secs(5))
        .speak_every(secs(60));
    assert_eq!(read.keep_alive(), Some(pings));
    let read = settings(r#"keep_alive = { listen_only = "75s" }"#);
    assert_eq!(read.keep_alive(), Some(Liveness::listen_only(secs(75))));
    assert_eq!(
        settings("keep_alive = {}").keep_alive(),
        Some(Liveness::new())
    );
}

#[test]
fn limits_and_keep_alives_can_be_read_on_their_own() {
    let config: Config = toml::from_str("max_attempts = 3").unwrap();
    assert_eq!(config, Config::new().max_attempts(3));
    let liveness: Liveness = serde_json::from_str(r#"{ "idle": "9s" }"#).unwrap();
    assert_eq!(liveness, Liveness::new().idle(secs(9)));
}

#[test]
fn times_of_more_than_584_years_count_as_no_limit() {
    let read = settings(r#"max_elapsed = "1000 years""#);
    assert_eq!(read.config(), Config::new());
}

// ---- what is refused

// Each entry is a file, and what a person reads.

#[test]
fn keys_and_kinds_that_do_not_exist_are_refused_with_those_that_do() {
    let stratified = "{ kind = \"stratified\", base = \"1s\", cap = \"40s\" }";
    for (toml, expected) in [
        (
            r#"policy = { kind = "stratified", bsae = "1s" }"#,
            "bsae is \"1s\": there is no such key; did you mean base?",
        ),
        (
            "retries = 5",
            "retries is 5: there is no such key; the keys are policy, keep_alive, dial_timeout, \
             attempt_timeout, patience, stable_after, max_attempts, max_elapsed, hint_cap",
        ),
        (
            r#"policy = { kind = "sequence", waits = ["1s"], base = "1s" }"#,
            "base is \"1s\": the policy \"sequence\" has no such key; its keys are waits, jitter",
        ),
        (
            r#"policy = { base = "1s" }"#,
            &format!("kind is missing: it says which policy; write for example {stratified}"),
        ),
        (
            r#"policy = { kind = "exponential", base = "1s" }"#,
            "cap is missing: the policy \"exponential\" needs it; write for example \
             { kind = \"exponential\", base = \"1s\", cap = \"60s\" }",
        ),
        (
            r#"policy = { kind = "stratified", clients = 1000 }"#,
            "clients is 1000: it says nothing without per_second; add that, or leave out clients",
        ),
        (
            r#"policy = { kind = "stratified", clients = 1000, per_second = 9, cap = "9s" }"#,
            "cap is \"9s\": clients and per_second already set it; leave out this key or those",
        ),
        (
            r#"keep_alive = { listen_only = "75s", grace = "5s" }"#,
            "grace is \"5s\": a connection that is never pinged has no such key; leave out this \
             key or listen_only",
        ),
        (
            r#"policy = { kind = "stratfied" }"#,
            "kind is \"stratfied\": there is no such policy; the kinds are stratified, \
             exponential, decorrelated, sequence",
        ),
        (
            r#"policy = "stratified""#,
            &format!("invalid type: string \"stratified\", expected a table, such as {stratified}"),
        ),
    ] {
        assert_eq!(refusal(toml), expected, "{toml}");
    }
}

#[test]
fn what_is_no_time_is_refused_with_how_to_write_one() {
    for (toml, expected) in [
        (
            "attempt_timeout = 20",
            "attempt_timeout is 20: a time needs a unit, such as \"20s\" or \"20ms\"",
        ),
        (
            r#"attempt_timeout = "20""#,
            "attempt_timeout is \"20\": a time needs a unit, such as \"20s\" or \"20ms\"",
        ),
        (
            r#"attempt_timeout = "20 parsecs""#,
            "attempt_timeout is \"20 parsecs\": there is no unit \"parsecs\"; the units are ns, \
             us, ms, s, m, h and days",
        ),
        (
            r#"attempt_timeout = "soon""#,
            "attempt_timeout is \"soon\": it must be a time, such as \"1s\", \"250ms\" or \
             \"2m 30s\"",
        ),
        (
            r#"attempt_timeout = "-1s""#,
            "attempt_timeout is \"-1s\": it must be a time, such as \"1s\", \"250ms\" or \
             \"2m 30s\"",
        ),
        (
            "attempt_timeout = true",
            "attempt_timeout is true: it must be a time, such as \"1s\", \"250ms\" or \"2m 30s\"",
        ),
        (
            "attempt_timeout = { secs = 1 }",
            "attempt_timeout is a table: it must be a time, such as \"1s\", \"250ms\" or \
             \"2m 30s\"",
        ),
        (
            r#"max_elapsed = "18446744073709551615s 1000000000ns""#,
            "max_elapsed is \"18446744073709551615s 1000000000ns\": it is too long; write a \
             shorter time, such as \"1h 30m\"",
        ),
    ] {
        assert_eq!(refusal(toml), expected, "{toml}");
    }
}

#[test]
fn values_that_cannot_work_are_refused_in_the_words_of_the_file() {
    for (toml, expected) in [
        (
            r#"attempt_timeout = "0s""#,
            "attempt_timeout is \"0s\": no attempt could succeed in it; give it some seconds, or \
             \"none\" for no limit",
        ),
        (
            "max_attempts = 0",
            "max_attempts is 0: the client would never connect; allow at least 1",
        ),
        (
            "max_attempts = -1",
            "max_attempts is -1: it must be a whole number, such as 100, or \"none\" for no limit",
        ),
        (
            r#"keep_alive = { idle = "0s" }"#,
            "idle is \"0s\": the client would ping without end; give it some seconds, or \
             \"none\" for never",
        ),
        (
            r#"policy = { kind = "stratified", growth = 0.5 }"#,
            "growth is 0.5: it must be a finite number of at least 1, such as 2",
        ),
        (
            r#"policy = { kind = "stratified", growth = nan }"#,
            "growth is NaN: it must be a finite number of at least 1, such as 2",
        ),
        (
            r#"policy = { kind = "stratified", growth = "fast" }"#,
            "growth is \"fast\": it must be a number, such as 2",
        ),
        (
            r#"policy = { kind = "decorrelated", base = "120s", cap = "60s" }"#,
            "base is \"120s\": it is above the cap of 60s; lower the base or raise the cap",
        ),
        (
            r#"policy = { kind = "stratified", busy_cap = "1s" }"#,
            "busy_cap is \"1s\": it is below the cap of 37.5s; a failure that costs the server \
             more must not be retried sooner, so raise it or lower the cap",
        ),
        (
            r#"policy = { kind = "exponential", base = "1s", cap = "60s", jitter = 1.5 }"#,
            "jitter is 1.5: it must be within 0 and 1, such as 0.2 for 20 % either way",
        ),
        (
            r#"policy = { kind = "exponential", base = "1s", cap = "60s", jitter = "some" }"#,
            "jitter is \"some\": it must be \"full\", \"equal\", \"none\", or a number such as \
             0.2 for 20 % either way",
        ),
        (
            r#"policy = { kind = "sequence", waits = [] }"#,
            "waits is []: a sequence needs at least one wait; the last one repeats",
        ),
        (
            r#"policy = { kind = "sequence", waits = ["1s", 5] }"#,
            "waits is [\"1s\", 5]: of 5, a time needs a unit, such as \"5s\" or \"5ms\"",
        ),
        (
            r#"policy = { kind = "sequence", waits = "1s" }"#,
            "waits is \"1s\": it must be a list of times, such as [\"1s\", \"5s\", \"30s\"]",
        ),
    ] {
        assert_eq!(refusal(toml), expected, "{toml}");
    }
}

#[test]
fn the_formats_add_the_place() {
    let file = "stable_after = \"10s\"\npolicy = { kind = \"stratified\", base = 1 }\n";
    let refused = toml::from_str::<Settings>(file).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "\
TOML parse error at line 2, column 40
  |
2 | policy = { kind = \"stratified\", base = 1 }
  |                                        ^
base is 1: a time needs a unit, such as \"1s\" or \"1ms\"
"
    );

    let file = "{\n  \"policy\": { \"kind\": \"stratified\",\n    \"base\": 1 }\n}";
    let refused = serde_json::from_str::<Settings>(file).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "base is 1: a time needs a unit, such as \"1s\" or \"1ms\" at line 3 column 15"
    );
}

#[test]
fn a_key_that_comes_twice_is_refused_where_the_format_allows_it() {
    let file = r#"{ "max_attempts": 3, "max_attempts": 4 }"#;
    let refused = serde_json::from_str::<Settings>(file).unwrap_err();
    let expected = "max_attempts is 4: it is the second value of this key; keep one";
    assert!(refused.to_string().starts_with(expected), "{refused}");
    assert!(serde_json::from_str::<Config>(file).is_err());
}

#[test]
fn a_table_that_is_no_table_is_refused() {
    for file in ["3", "null", "\"stratified\"", "[]", "true"] {
        assert!(serde_json::from_str::<Settings>(file).is_err(), "{file}");
        assert!(serde_json::from_str::<Config>(file).is_err(), "{file}");
        assert!(serde_json::from_str::<Liveness>(file).is_err(), "{file}");
        assert!(
            serde_json::from_str::<PolicyConfig>(file).is_err(),
            "{file}"
        );
    }
}

// ---- what is written

#[test]
fn the_defaults_are_a_file_to_begin_with() {
    assert_eq!(
        toml::to_string(&Settings::default()).unwrap(),
        r#"dial_timeout = "5s"
stable_after = "10s"
max_elapsed = "none"
hint_cap = "1h"
max_attempts = "none"

[policy]
kind = "stratified"
"#
    );
}

/// Whether a value reads back as the same from TOML and from JSON.
fn reads_back<T>(value: &T) -> Result<(), TestCaseError>
where
    T: DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug,
{
    let text = toml::to_string(value).unwrap();
    let back: T = toml::from_str(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(value, &back, "{}", text);
    let text = serde_json::to_string(value).unwrap();
    let back: T =
        serde_json::from_str(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(value, &back, "{}", text);
    Ok(())
}

/// Times of all orders, down to a nanosecond.
fn times() -> impl Strategy<Value = Duration> {
    let any = (0_u32..64, any::<u64>()).prop_map(|(shift, bits)| (bits >> shift).max(1));
    prop_oneof![
        8 => any.prop_map(Duration::from_nanos),
        1 => Just(Duration::MAX),
        1 => (1_u64..4000).prop_map(Duration::from_secs),
    ]
}

fn limits() -> impl Strategy<Value = Config> {
    let times = proptest::option::of(times());
    let attempts = proptest::option::of(1_u32..);
    (proptest::array::uniform6(times), attempts).prop_map(|(times, attempts)| {
        let [dial, attempt, patience, stable, elapsed, hint] = times;
        let mut config = Config::new();
        for (time, set) in [
            (dial, Config::dial_timeout as fn(Config, Duration) -> Config),
            (attempt, Config::attempt_timeout),
            (patience, Config::patience),
            (stable, Config::stable_after),
            (elapsed, Config::max_elapsed),
            (hint, Config::hint_cap),
        ] {
            config = time.map_or(config, |time| set(config, time));
        }
        attempts.map_or(config, |attempts| config.max_attempts(attempts))
    })
}

fn keep_alives() -> impl Strategy<Value = Liveness> {
    prop_oneof![
        times().prop_map(Liveness::listen_only),
        (times(), times(), times()).prop_map(|(idle, grace, speak)| {
            Liveness::new().idle(idle).grace(grace).speak_every(speak)
        }),
    ]
}

/// Policies as JSON, of all kinds.
fn policies() -> impl Strategy<Value = PolicyConfig> {
    let range = (1_u64..1 << 40, 0_u64..1 << 40).prop_map(|(base, more)| {
        let text = |nanos| humantime(Duration::from_nanos(nanos));
        (text(base), text(base + more), base + more)
    });
    let jitter = prop_oneof![
        Just("\"full\"".to_owned()),
        Just("\"equal\"".to_owned()),
        Just("\"none\"".to_owned()),
        (0.0..=1.0_f64).prop_map(|j| j.to_string()),
    ];
    let waits = proptest::collection::vec((0_u64..1 << 50).prop_map(Duration::from_nanos), 1..5);
    let waits = waits.prop_map(|waits| waits.into_iter().map(humantime).collect::<Vec<_>>());
    let all = (range, jitter, 1.0..1e6_f64, waits, 0_u8..5, 0_u64..1 << 40);
    all.prop_map(|((base, cap, nanos), jitter, factor, waits, kind, more)| {
        let range = format!("\"base\": \"{base}\", \"cap\": \"{cap}\"");
        let busy = humantime(Duration::from_nanos(nanos + more));
        let text = match kind {
            0 => format!(
                "{{ \"kind\": \"stratified\", {range}, \"growth\": {factor}, \"busy_cap\": \"{busy}\" }}"
            ),
            1 => format!(
                "{{ \"per_second\": {factor}, \"clients\": {more}, \"kind\": \"stratified\" }}"
            ),
            2 => format!(
                "{{ \"kind\": \"exponential\", {range}, \"factor\": {factor}, \"jitter\": {jitter} }}"
            ),
            3 => format!("{{ {range}, \"kind\": \"decorrelated\" }}"),
            _ => format!("{{ \"kind\": \"sequence\", \"jitter\": {jitter}, \"waits\": {waits:?} }}"),
        };
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
    })
}

/// A time in a form that a person may choose.
fn humantime(time: Duration) -> String {
    format!("{}s {}ns", time.as_secs(), time.subsec_nanos())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn limits_read_back_as_the_same(config in limits()) {
        reads_back(&config)?;
    }

    #[test]
    fn keep_alives_read_back_as_the_same(liveness in keep_alives()) {
        reads_back(&liveness)?;
    }

    #[test]
    fn policies_read_back_as_the_same_and_wait_the_same(policy in policies()) {
        reads_back(&policy)?;
        let text = toml::to_string(&policy).unwrap();
        let back: PolicyConfig = toml::from_str(&text).unwrap();
        let waits = policy.policy().delays_from_seed(1).take(9);
        prop_assert!(waits.eq(back.policy().delays_from_seed(1).take(9)));
    }

    #[test]
    fn settings_read_back_as_the_same(
        config in limits(),
        policy in policies(),
        keep_alive in proptest::option::of(keep_alives()),
    ) {
        let mut file = serde_json::to_value(config).unwrap();
        file["policy"] = serde_json::to_value(&policy).unwrap();
        if let Some(keep_alive) = keep_alive {
            file["keep_alive"] = serde_json::to_value(keep_alive).unwrap();
        }
        let settings: Settings = serde_json::from_value(file).unwrap();
        prop_assert_eq!(settings.config(), config);
        prop_assert_eq!(settings.keep_alive(), keep_alive);
        reads_back(&settings)?;
    }

    #[test]
    fn no_text_makes_reading_a_time_panic(text in "[0-9a-zµ. -]{0,40}") {
        let _ = toml::from_str::<Config>(&format!("patience = {text:?}"));
    }
}
