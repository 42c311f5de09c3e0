//! The table of the storms, its legend and its conclusion.

use redial::storm::{Recovery, Report};

/// The names of the columns. The first column has `width` characters.
pub(crate) fn head(width: usize) -> String {
    format!(
        "{:width$}     half     99 %      all  x limit   tries  peak  wasted",
        ""
    )
}

/// The row of one policy.
pub(crate) fn row(name: &str, width: usize, report: &Report) -> String {
    let time = |at: Option<Recovery>| match at {
        Some(at) => format!("{:.1} s", at.time.as_secs_f64()),
        None => "never".to_owned(),
    };
    let over_limit = match report.t_full {
        Some(at) => format!("{:.2}", at.over_limit),
        None => "-".to_owned(),
    };
    format!(
        "{name:width$} {:>8} {:>8} {:>8} {over_limit:>8} {:>7.1} {:>5.1} {:>5.0} %",
        time(report.t_50),
        time(report.t_99),
        time(report.t_full),
        report.attempts.mean,
        report.peak_second,
        report.wasted * 100.0,
    )
}

pub(crate) const LEGEND: &str = "
half, 99 %, all  when that many clients are back, since the server's return
x limit          the time to all, as a multiple of the limit
tries            attempts of a client after the return, on average
peak             the most attempts in a second, as a multiple of the capacity
wasted           the share of these attempts that did not connect

";

/// The result in one sentence.
pub(crate) fn conclusion(reports: &[(&str, Report)]) -> String {
    let times = reports.iter();
    let times = times.filter_map(|(name, report)| Some((name, report.t_full?)));
    let best = times.min_by_key(|(_, all)| all.time);
    let never = reports.iter().filter(|(_, report)| report.t_full.is_none());
    let never: Vec<_> = never.map(|(name, _)| *name).collect();
    let Some((name, all)) = best else {
        return format!(
            "On {}, not all clients came back in the simulated time.",
            never.join(" and ")
        );
    };
    let soonest = if reports.len() > 1 { " soonest" } else { "" };
    let others = if never.is_empty() {
        String::new()
    } else {
        format!("; on {} they never are", never.join(" and "))
    };
    format!(
        "All clients are back{soonest} on {name}: {:.1} s after the server's return\n\
         (the limit is {:.1} s){others}.",
        all.time.as_secs_f64(),
        reports[0].1.limit().as_secs_f64(),
    )
}
