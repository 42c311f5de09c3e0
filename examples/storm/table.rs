//! The table of the storms, its legend and its conclusion.

use redial::storm::{Recovery, Report, Summary};
use textwrap::{Options, WordSplitter};

/// What the longest lines have room for.
const COLUMNS: usize = 80;
/// A longer name gets a line of its own.
const LONGEST_NAME: usize = 20;

/// How wide the first column is.
pub(crate) fn width<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    let widths = names.map(|name| name.chars().count());
    let fits = widths.filter(|width| *width <= LONGEST_NAME);
    fits.max().unwrap_or_default()
}

/// What the table is about.
pub(crate) fn title(clients: u32, capacity: f64, outage: f64) -> String {
    let plain = |number: f64| {
        let plain = format!("{number}");
        if plain.len() <= 12 {
            plain
        } else {
            format!("{number:e}")
        }
    };
    format!(
        "A fleet of {clients} loses its server, which is then down for {} s.\n\
         The server takes {} clients in a second, so the limit is {} for all.",
        plain(outage),
        plain(capacity),
        seconds(f64::from(clients) / capacity),
    )
}

/// The names of the columns. The first column has `width` characters.
pub(crate) fn head(width: usize) -> String {
    format!(
        "{:width$}     half     99 %      all  x limit   tries   peak  wasted",
        ""
    )
}

/// The row of one policy.
pub(crate) fn row(name: &str, width: usize, report: &Report) -> String {
    let time = |at: Option<Recovery>| match at {
        Some(at) => seconds(at.time.as_secs_f64()),
        None => "never".to_owned(),
    };
    let over_limit = match report.t_full {
        Some(at) => number(at.over_limit, 2, 8),
        None => "-".to_owned(),
    };
    format!(
        "{} {:>8} {:>8} {:>8} {over_limit:>8} {:>7} {:>6} {:>5.0} %",
        first(name, width),
        time(report.t_50),
        time(report.t_99),
        time(report.t_full),
        number(report.attempts.mean, 1, 7),
        number(report.peak_second, 1, 6),
        report.wasted * 100.0,
    )
}

fn first(name: &str, width: usize) -> String {
    if name.chars().count() > LONGEST_NAME {
        format!("{name}\n{:width$}", "")
    } else {
        format!("{name:width$}")
    }
}

/// As [`head`], for a sweep.
pub(crate) fn sweep_head(width: usize) -> String {
    format!("{:width$}  at once  after outage   tries  never", "")
}

/// As [`row`], for the storms of a sweep.
pub(crate) fn sweep_row(name: &str, width: usize, summary: &Summary) -> String {
    format!(
        "{} {:>8} {:>13} {:>7} {:>6}",
        first(name, width),
        number(summary.at_once, 2, 8),
        number(summary.after_outage, 2, 13),
        number(summary.attempts, 1, 7),
        summary.never,
    )
}

pub(crate) const SWEEP_LEGEND: &str = "
at once          the time to 99 %, as a multiple of the limit: the geometric
                 mean of the storms without an outage
after outage     the same of the storms with one
tries            attempts of a client in the storms without an outage
never            storms that do not end; each counts as 20 in the means
The means are of storms with a limit of 2 s or more.
";

/// A time in at most eight characters.
pub(crate) fn seconds(seconds: f64) -> String {
    format!("{} s", number(seconds, 1, 6))
}

/// The number with so many decimals, if they fit into the width and show more than 0.
/// Otherwise with two more or with none, or as a power of ten.
pub(crate) fn number(number: f64, decimals: usize, width: usize) -> String {
    let shows = |text: &String| {
        let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
        text.len() <= width && is_zero == (number == 0.0)
    };
    let forms = [decimals, decimals + 2, 0].map(|decimals| format!("{number:.decimals$}"));
    let short = forms.into_iter().find(shows);
    short.unwrap_or_else(|| format!("{number:.0e}"))
}

pub(crate) const LEGEND: &str = "
half, 99 %, all  when that many clients are back, since the server's return
never            not within 20 limits, or 20 minutes if longer, or 10 000 tries
x limit          the time to all, as a multiple of the limit
tries            attempts of a client after the return, on average
peak             the most attempts in a second, as a multiple of the capacity
wasted           the share of these attempts that did not connect

";

/// Times that differ by less are the same: the last client of a fleet is one of chance.
const SAME: f64 = 1.01;

/// The result in one sentence.
pub(crate) fn conclusion(reports: &[(&str, Report)]) -> String {
    let never = reports.iter().filter(|(_, report)| report.t_full.is_none());
    let never: Vec<_> = never.map(|(name, report)| (*name, report)).collect();
    let times = reports.iter().filter_map(|(name, report)| {
        let all = report.t_full?;
        Some((*name, all.time.as_secs_f64()))
    });
    let times: Vec<_> = times.collect();
    let soonest = times.iter().map(|(_, time)| *time).reduce(f64::min);
    let Some(soonest) = soonest else {
        let never = never.iter();
        let never = never.map(|(name, report)| format!("{name} ({} did)", report.back));
        let never: Vec<_> = never.collect();
        return lines(&format!(
            "Not all clients came back in the simulated time on {}.",
            list(&never)
        ));
    };
    let best = times.iter().filter(|(_, time)| *time <= SAME * soonest);
    let best: Vec<_> = best.map(|&(name, _)| name).collect();
    let how = match (reports.len(), best.len()) {
        (1, _) => "",
        (all, best) if all == best => " equally soon",
        _ => " soonest",
    };
    let never: Vec<_> = never.iter().map(|(name, _)| *name).collect();
    let others = if never.is_empty() {
        String::new()
    } else {
        format!("; on {} they never are", list(&never))
    };
    let first = &reports[0].1;
    lines(&format!(
        "All clients are back{how} on {}: {} after the server's return (the limit is {}){others}.",
        list(&best),
        seconds(soonest),
        seconds(f64::from(first.clients) / first.capacity),
    ))
}

/// "a", "a and b", "a, b and c".
fn list<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    match &names[..] {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [names @ .., last] => format!("{} and {last}", names.join(", ")),
    }
}

/// The text in lines that fit. A policy's name stays whole.
fn lines(text: &str) -> String {
    let options = Options::new(COLUMNS)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}
