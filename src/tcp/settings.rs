//! What a dial sets on its sockets, and how long it may take.

use core::time::Duration;
use std::io;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::race::LEAST_DELAY;
use crate::invalid::InvalidConfig;

/// A second below the attempt timeout of the driver. So a server that does not
/// answer is `Down`, and not `Stalled`.
const DIAL_TIMEOUT: Duration = Duration::from_secs(12);

/// The first address of each family starts, and has some time for its answer.
const LEAST_DIAL_TIMEOUT: Duration = Duration::from_millis(2 * LEAST_DELAY.as_millis() as u64);

/// Linux refuses longer times (`MAX_TCP_KEEPIDLE` and `MAX_TCP_KEEPINTVL`), …
const KEEPALIVE_TIMES: core::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(32_767);
/// … and more probes (`MAX_TCP_KEEPCNT`).
const MOST_PROBES: u32 = 127;

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) dial_timeout: Duration,
    nodelay: Option<bool>,
    keepalive: Option<Keepalive>,
}

#[derive(Clone, Copy, Debug)]
struct Keepalive {
    idle: Duration,
    interval: Duration,
    probes: u32,
}

impl Settings {
    pub(super) const fn new() -> Self {
        Self {
            dial_timeout: DIAL_TIMEOUT,
            nodelay: None,
            keepalive: None,
        }
    }

    pub(super) fn nodelay(&mut self, nodelay: bool) {
        self.nodelay = Some(nodelay);
    }

    pub(super) fn dial_timeout(&mut self, timeout: Duration) -> Result<(), InvalidConfig> {
        if timeout < LEAST_DIAL_TIMEOUT {
            return Err(InvalidConfig::duration(
                "dial_timeout",
                timeout,
                "a second address could not answer in it; give it at least 200 ms, or some seconds",
            ));
        }
        self.dial_timeout = timeout;
        Ok(())
    }

    pub(super) fn keepalive(
        &mut self,
        idle: Duration,
        interval: Duration,
        probes: u32,
    ) -> Result<(), InvalidConfig> {
        if !KEEPALIVE_IS_COMPLETE {
            return Err(InvalidConfig::new(
                "keepalive",
                "set",
                "this platform cannot set its times; send pings of your protocol instead",
            ));
        }
        for (setting, time) in [("idle", idle), ("interval", interval)] {
            if !KEEPALIVE_TIMES.contains(&time) {
                return Err(InvalidConfig::duration(
                    setting,
                    time,
                    "it must be from 1 s to 32767 s, such as 30 s",
                ));
            }
        }
        if !(1..=MOST_PROBES).contains(&probes) {
            return Err(InvalidConfig::new(
                "probes",
                probes,
                "it must be from 1 to 127, such as 3",
            ));
        }
        self.keepalive = Some(Keepalive {
            idle,
            interval,
            probes,
        });
        Ok(())
    }

    /// Connects to one address, with these settings.
    pub(super) async fn connect(self, address: core::net::SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address).await?;
        if let Some(nodelay) = self.nodelay {
            stream.set_nodelay(nodelay)?;
        }
        if let Some(keepalive) = self.keepalive {
            SockRef::from(&stream).set_tcp_keepalive(&keepalive.parameters())?;
        }
        Ok(stream)
    }
}

/// Compiles the first items on platforms where all times of keep-alive can be
/// set, and the others elsewhere.
macro_rules! if_keepalive_is_complete {
    ({ $($complete:item)* } else { $($other:item)* }) => {
        $(
            #[cfg(any(
                target_vendor = "apple",
                target_os = "android",
                target_os = "dragonfly",
                target_os = "freebsd",
                target_os = "fuchsia",
                target_os = "illumos",
                target_os = "linux",
                target_os = "netbsd",
                windows,
            ))]
            $complete
        )*
        $(
            #[cfg(not(any(
                target_vendor = "apple",
                target_os = "android",
                target_os = "dragonfly",
                target_os = "freebsd",
                target_os = "fuchsia",
                target_os = "illumos",
                target_os = "linux",
                target_os = "netbsd",
                windows,
            )))]
            $other
        )*
    };
}

if_keepalive_is_complete! {{
    const KEEPALIVE_IS_COMPLETE: bool = true;

    impl Keepalive {
        fn parameters(self) -> TcpKeepalive {
            TcpKeepalive::new()
                .with_time(self.idle)
                .with_interval(self.interval)
                .with_retries(self.probes)
        }
    }
} else {
    const KEEPALIVE_IS_COMPLETE: bool = false;

    impl Keepalive {
        fn parameters(self) -> TcpKeepalive {
            unreachable!("refused by the setter")
        }
    }
}}
