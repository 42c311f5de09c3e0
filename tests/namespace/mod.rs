//! A network of a test's own, in which it may lose packets.
//!
//! The test binary runs itself again in a new network namespace. The rules and
//! settings of the machine's own network stay as they are.

#![allow(dead_code)] // each test uses its part

use std::process::Command;
use std::{env, fs, process};

/// Set in the process that is inside the namespace: whether the test may still ask
/// for another run.
const INSIDE: &str = "REDIAL_TEST_NAMESPACE";
const AGAIN: i32 = 75;

/// The inside of a namespace. Its loopback device is up.
pub(crate) struct Namespace {
    may_repeat: bool,
}

/// Runs `body` in a namespace, in a process of its own. `test` is the name of the
/// calling test.
pub(crate) fn in_namespace(test: &str, body: impl FnOnce(&Namespace)) {
    if let Ok(may_repeat) = env::var(INSIDE) {
        run("ip", &["link set lo up"]);
        return body(&Namespace {
            may_repeat: may_repeat == "true",
        });
    }
    // Whoever is not root is root in a user namespace of its own.
    let is_allowed = |options: &[&str]| {
        let tried = Command::new("unshare").args(options).arg("true").output();
        tried
            .expect("`unshare` of util-linux runs")
            .status
            .success()
    };
    let options: &[&str] = if is_allowed(&["--net"]) {
        &["--net"]
    } else {
        &["--map-root-user", "--net"]
    };
    for may_repeat in [true, false] {
        let output = Command::new("unshare")
            .args(options)
            .arg(env::current_exe().unwrap())
            .args([test, "--exact", "--ignored", "--nocapture"])
            .env(INSIDE, may_repeat.to_string())
            .output()
            .unwrap();
        // Without the words of the test harness.
        let said = String::from_utf8_lossy(&output.stdout);
        let is_word = |line: &&str| !(line.is_empty() || line.starts_with("test "));
        for line in said.lines().skip(2).filter(is_word) {
            println!("{line}");
        }
        if output.status.code() != Some(AGAIN) {
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{complaint}");
            return;
        }
    }
}

// A `Namespace` is the proof that the machine's own network is out of reach.
#[allow(clippy::unused_self)]
impl Namespace {
    /// The run is worth nothing. If it was the first, another one takes its place, and
    /// this does not return.
    pub(crate) fn run_again(&self) {
        if self.may_repeat {
            process::exit(AGAIN);
        }
    }

    /// Sets a setting of the kernel's TCP. Returns false if the kernel does not know it.
    #[must_use]
    pub(crate) fn set_tcp(&self, name: &str, value: u32) -> bool {
        fs::write(format!("/proc/sys/net/ipv4/tcp_{name}"), value.to_string()).is_ok()
    }

    /// A counter of the kernel's TCP, as `nstat` shows it.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let all = fs::read_to_string("/proc/net/netstat").unwrap();
        let mut rows = all.lines().filter_map(|row| row.strip_prefix("TcpExt: "));
        let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
        let at = names.split(' ').position(|known| known == name).unwrap();
        values.split(' ').nth(at).unwrap().parse().unwrap()
    }

    /// SYNs to an address arrive one after the other, 0.2 ms apart.
    ///
    /// The clients of one machine share its timers, which expire in steps of up to
    /// 32 ms. So their repeated SYNs come in clumps, faster than any of them is answered.
    pub(crate) fn pace_syns(&self, address: &str) {
        let rate = "class add dev lo parent 1: classid 1:1 htb rate 3mbit burst 80 cburst 80";
        run("tc", &["qdisc add dev lo root handle 1: htb", rate]);
        let chain = "add chain inet pace output { type filter hook output priority 0; }";
        let rule = format!(
            "add rule inet pace output ip daddr {address} tcp flags & (syn | ack) == syn \
             meta priority set 1:1"
        );
        run("nft", &["add table inet pace", chain, &rule]);
    }

    /// From now on, all packets from and to an address vanish, and nobody is told.
    ///
    /// They vanish where they come in: a rule on the way out would tell the sender.
    pub(crate) fn cut(&self, address: &str) {
        let chain = "add chain inet partition input { type filter hook input priority 0; }";
        let rule = |end| format!("add rule inet partition input ip {end} {address} drop");
        run(
            "nft",
            &[
                "add table inet partition",
                chain,
                &rule("daddr"),
                &rule("saddr"),
            ],
        );
    }

    /// Packets pass again.
    pub(crate) fn mend(&self) {
        run("nft", &["delete table inet partition"]);
    }
}

/// Runs a program once for each line of arguments.
fn run(program: &str, lines: &[&str]) {
    for line in lines {
        // nft takes a line as one argument, and as many.
        let output = Command::new(program).args(line.split(' ')).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}; see .ci/network"));
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {line}: {complaint}");
    }
}
