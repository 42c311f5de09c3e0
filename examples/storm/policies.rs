//! Reads policies from the command line.

use std::error::Error;
use std::str::FromStr;
use std::time::Duration;

use redial::storm::{Client, Fleet, Mix};
use redial::{Decorrelated, Exponential, Jitter, Sequence, Stratified};

use crate::clients;

/// The policies of a fleet, named as on the command line.
#[derive(Clone)]
pub(crate) struct Named {
    pub name: String,
    pub policy: Mix,
}

type Failure = Box<dyn Error + Send + Sync>;

impl FromStr for Named {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        Self::with_patience(text, None)
    }
}

impl Named {
    /// Clients that know their phases have limits of their own, and not those of the
    /// storm. So they must be given its `patience`, if that is not the usual.
    pub(crate) fn with_patience(text: &str, patience: Option<Duration>) -> Result<Self, Failure> {
        let mut parts = text.split('+').map(|part| match part.split_once('*') {
            Some((share, policy)) => Ok((share.parse()?, parse(policy, patience)?)),
            None => Ok((1.0, parse(part, patience)?)),
        });
        let (share, first) = parts.next().expect("split yields one part at least")?;
        let fleet = Mix::try_new(share, first)?;
        let policy = parts.try_fold(fleet, |fleet, part: Result<_, Failure>| {
            let (share, policy) = part?;
            Ok::<_, Failure>(fleet.try_and(share, policy)?)
        })?;
        let name = text.to_owned();
        Ok(Self { name, policy })
    }
}

fn parse(text: &str, patience: Option<Duration>) -> Result<Mix, Failure> {
    let (rule, numbers) = text.split_once(':').unwrap_or((text, ""));
    let numbers: Vec<f64> = match numbers {
        "" => Vec::new(),
        numbers => numbers
            .split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|_| format!("{text}: give numbers, with a comma between them"))?,
    };
    let seconds = |&number: &f64| Duration::try_from_secs_f64(number);
    let times = || numbers.iter().map(seconds).collect::<Result<Vec<_>, _>>();
    let range = || match times()?[..] {
        [] => Ok((Duration::from_secs(1), Duration::from_secs(60))),
        [base, cap] => Ok((base, cap)),
        _ => Err(Failure::from(format!(
            "{text}: give a base and a cap, in seconds"
        ))),
    };
    let exponential = |jitter| {
        let (base, cap) = range()?;
        Ok::<_, Failure>(one(Exponential::try_new(base, cap)?.jitter(jitter)))
    };
    if matches!(rule, "constant" | "sequence") && numbers.last() == Some(&0.0) {
        return Err(format!(
            "{text}: with a last wait of 0 s the clients would try without end in one \
             instant; end with a longer wait"
        )
        .into());
    }
    Ok(match (rule, &numbers[..]) {
        ("stratified", []) => one(Stratified::default()),
        ("phases", []) => {
            let clients = Client::new(Stratified::default()).phases();
            one(match patience {
                Some(most) => clients.patience(most),
                None => clients,
            })
        }
        ("stratified", &[growth]) => one(Stratified::default().try_growth(growth)?),
        ("full", _) => exponential(Jitter::Full)?,
        ("equal", _) => exponential(Jitter::Equal)?,
        ("exponential", _) => exponential(Jitter::None)?,
        ("decorrelated", _) => {
            let (base, cap) = range()?;
            one(Decorrelated::try_new(base, cap)?)
        }
        ("constant", []) => one(constant(Duration::from_secs(2))),
        ("constant", [wait]) => one(constant(seconds(wait)?)),
        ("sequence", _) => one(Sequence::try_new(times()?)?.jitter(Jitter::None)),
        (name, []) => match clients::named(name) {
            Some(fleet) => fleet,
            None => return Err(format!("{rule:?} is not a policy; --help lists them").into()),
        },
        _ => return Err(format!("{text}: --help says which numbers a policy takes").into()),
    })
}

fn one(clients: impl Fleet<State: 'static> + Send + Sync + 'static) -> Mix {
    Mix::new(1.0, clients)
}

fn constant(wait: Duration) -> Sequence {
    Sequence::new([wait]).jitter(Jitter::None)
}
